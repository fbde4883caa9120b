"""A legal assistant that works for months: each time something comes in, a pipeline renews the
summary of the case.

    python examples/pipelines/legal_assistant.py

Runs a whole cluster in this process tree, on a data folder that is removed at the end. A webhook on
loopback plays the office. While it takes the first message, the runner of pipelines is killed with
SIGKILL: another one goes on from the journal, and nothing happens twice.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from rich.console import Console

from memos_ray import MemOS, Settings
from memos_ray.cluster.pipeline_handle import PipelineHandle
from memos_ray.config import PipelineSettings
from memos_ray.gateway.pipelines.models import RunReport

_PIPELINE = Path(__file__).with_name("case_summary.yaml")
_CASE = "2026-117"
_FILINGS = (
    ("The lease of the bakery in Weaver Street began on 1 March 2026.", ["fact"]),
    ("The tenant, Nora Lindqvist, has paid the rent until the end of June.", ["fact"]),
    ("The answer to the claim is due on 14 August 2026.", ["fact", "deadline"]),
)
console = Console(width=110)


class Office:
    """What the office has received: keys of messages, in order."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.on_first: list[int] = []

    def received(self, key: str) -> None:
        """Takes a message; whoever is to die at the first one does."""
        self.keys.append(key)
        while self.on_first:
            os.kill(self.on_first.pop(), signal.SIGKILL)


@contextmanager
def open_office(office: Office) -> Iterator[str]:
    """Listens on loopback; yields the URL."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            office.received(self.headers["Idempotency-Key"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/cases"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    """Plays three filings of one case."""
    office = Office()
    with open_office(office) as url, tempfile.TemporaryDirectory(prefix="memos-case-") as folder:
        settings = Settings(pipelines=PipelineSettings(hooks=(url,)))
        with MemOS(data=folder, settings=settings) as memos:
            play(memos, office, url, settings)


def play(memos: MemOS, office: Office, url: str, settings: Settings) -> None:
    """Files, summarises, kills the runner, and looks whether everything has happened once."""
    definition = yaml.safe_load(_PIPELINE.read_text())
    told = {
        "id": "tell",
        "kind": "publish",
        "url": url,
        "text": "{write.state} for {params.office}",
    }
    definition["steps"].append({**told, "needs": ["write", "mark", "used"]})
    kept = memos.pipelines.keep(definition)
    console.rule(f"kept {kept.name}, version {kept.version}")
    memos.add("Nothing is known yet.", id="summary-117", tags=["summary"])
    for number, (text, tags) in enumerate(_FILINGS):
        memos.add(text, tags=tags)
        if number == len(_FILINGS) - 1:
            pid = asyncio.run(PipelineHandle(settings.namespace).pid())
            console.print(f"the runner, process {pid}, will be killed while the office is told")
            office.on_first.append(pid)
        run = summarise(memos)
        console.print(f"{run.id}: {run.state.value}")
        assert run.state.value == "done", run
    check(memos, office)


def summarise(memos: MemOS) -> RunReport:
    """Runs the kept pipeline to its end."""
    params = {"case": _CASE, "summary": "summary-117"}
    begun = memos.pipelines.run("case-summary", params=params)
    return memos.pipelines.wait(begun.id)


def check(memos: MemOS, office: Office) -> None:
    """Verifies what is left: one version for each write, and a message that may come twice."""
    summary = memos.get("summary-117")
    console.print(summary.text)
    # A text for each filing, and the tags once.
    assert summary.version == 1 + len(_FILINGS) + 1, summary.version
    assert "Deadlines:" in summary.text and "14 August 2026" in summary.text
    assert {f"case-{_CASE}", "current"} <= set(summary.tags)
    assert all("summarised" in hit.memory.tags for hit in memos.search("", filter="tags:fact").hits)
    assert len(office.keys) > len(_FILINGS) and len(set(office.keys)) == len(_FILINGS)
    console.rule("every write once; the office knows a repeated message by its key")


if __name__ == "__main__":
    main()
