"""PIPE-1: webhooks over HTTP, against a real server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from memos_ray.adapters.hooks import HttpHooks
from memos_ray.errors import InvalidInputError, PermissionDeniedError, UnavailableError


class _Door(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers["Idempotency-Key"], body))
        status = int(self.path.rpartition("/")[2])
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/hooks/200")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    _Door.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_PIPE_1_a_message_arrives_with_its_key_where_it_is_allowed(url: str) -> None:
    hooks = HttpHooks([f"{url}/hooks"])
    await hooks.post(f"{url}/hooks/204", "k", b"{}", 10)
    assert _Door.seen == [("/hooks/204", "k", b"{}")]
    with pytest.raises(PermissionDeniedError):
        await hooks.post(f"{url}/other/204", "k", b"{}", 10)
    with pytest.raises(PermissionDeniedError):
        await HttpHooks([]).post(f"{url}/hooks/204", "k", b"{}", 10)
    assert len(_Door.seen) == 1


async def test_PIPE_1_refusals_redirects_and_absence_are_told_apart(url: str) -> None:
    hooks = HttpHooks([url, "http://127.0.0.1:9"])
    for status, error in (
        (302, InvalidInputError),
        (404, InvalidInputError),
        (429, UnavailableError),
        (503, UnavailableError),
    ):
        with pytest.raises(error):
            await hooks.post(f"{url}/hooks/{status}", "k", b"{}", 10)
    assert len(_Door.seen) == 4, "no redirect was followed"
    with pytest.raises(UnavailableError):
        await hooks.post("http://127.0.0.1:9/", "k", b"{}", 10)
