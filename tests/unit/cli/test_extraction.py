"""Commands on what a model extracts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray.actors.extraction.extraction import ExtractionParts
from memos_ray.adapters.model_extractor import ModelExtractor
from memos_ray.adapters.openai_model import OpenAIModel
from memos_ray.cli.exits import ExitCode
from memos_ray.config import ExtractionSettings
from memos_ray.testing.http_door import HttpDoor, http_door
from memos_ray.testing.openai_endpoint import Endpoint, answer, openai_endpoint
from memos_ray.testing.reading import quoting, reading

SETTINGS = ExtractionSettings(attempts=1, retry_min_s=0.001, retry_max_s=0.001)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        yield found


@pytest.fixture(scope="module")
def door(
    tmp_path_factory: pytest.TempPathFactory, server: tuple[str, Endpoint]
) -> Iterator[HttpDoor]:
    model = OpenAIModel(base_url=server[0], model="remote")
    parts = ExtractionParts(ModelExtractor("reader", model, limit_s=30.0), SETTINGS)
    with http_door(tmp_path_factory.mktemp("door"), extraction=parts) as opened:
        yield opened


def settled(call: Any) -> Any:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = call("extraction", "status")
        if not (found["lag"] or found["queued"] or found["running"]):
            return found
        time.sleep(0.01)
    raise TimeoutError


def test_READ_3_extraction_on_the_command_line(
    call: Any, run: Any, server: tuple[str, Endpoint], tmp_path: Path
) -> None:
    server[1].script = [answer("Sorry.")]
    file = tmp_path / "chat.json"
    turns = [{"role": "user", "name": "Ana", "content": "I moved to Lisbon."}]
    file.write_text(json.dumps(turns))
    assert call("ingest", str(file), "--extract", "--conversation", "chat")["stored"] == 1
    assert settled(call)["parked"] == 1
    (job,) = call("extraction", "parked")["jobs"]
    assert (job["state"], job["reason"]) == ("parked", "invalid_input")
    shown = run("extraction", "parked").stdout
    assert job["id"] in shown and "invalid_input" in shown and "chat" in shown

    server[1].script = [reading(quoting)]
    lost = call("extraction", "retry", "absent", code=ExitCode.NOT_FOUND)
    assert lost["code"] == "not_found"
    assert call("extraction", "retry", job["id"])["retried"] == 1
    assert settled(call)["memories"] == 1
    shown = run("extraction", "status").stdout
    assert "reader: 0 jobs queued, 0 running, 0 parked, 1 done." in shown
    assert "chat: 1 read, 0 waiting, 0 parked, 1 made" in shown
    assert call("extraction", "automatic")["automatic"]
    assert "All that is stored here is read." in run("extraction", "status").stdout
    assert not call("extraction", "automatic", "--off")["automatic"]
