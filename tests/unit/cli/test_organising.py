"""Commands on duplicates and overtaken facts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from memos_ray.cli.exits import ExitCode
from memos_ray.testing.http_door import HttpDoor, http_door


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    with http_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


def test_OPER_4_proposals_on_the_command_line(call: Any, run: Any) -> None:
    old, new = (call("add", text)["id"] for text in ("Ann lives in Oslo.", "Ann moved to Rome."))
    until = time.monotonic() + 60
    while (listed := call("organise", "ls"))["lag"] and time.monotonic() < until:
        time.sleep(0.01)
    (one,) = listed["proposals"]
    assert (one["older"], one["newer"], one["state"]) == (old, new, "open")
    shown = run("organise", "ls").stdout
    assert "Ann lives in Oslo." in shown and "Nothing is done unasked." in shown
    assert call("organise", "accept", one["id"])["state"] == "accepted"
    assert call("get", old)["valid_to"] is not None
    again = call("organise", "refuse", one["id"], code=ExitCode.CONFLICT)
    assert again["code"] == "illegal_state"
    assert call("organise", "automatic")["automatic"]
    assert not call("organise", "automatic", "--off")["automatic"]
