"""Commands on adapters: taught, combined, written into a folder and read from it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from memos_ray.cli.exits import ExitCode
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.http_door import HttpDoor, http_door
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    trainer = RandomTrainer()
    trainer.go_on.set()
    folder = tmp_path_factory.mktemp("door")
    with http_door(folder, {"hashing": model}, model, trainer) as opened:
        yield opened


def test_adapters_from_lesson_to_folder_and_back(call: Any, run: Any, tmp_path: Path) -> None:
    memories = [call("add", text)["id"] for text in ("Ana lives in Lima", "Ben is a cook")]
    taught = [call("adapter", "teach", id, "--wait") for id in memories]
    assert [one["state"] for one in taught] == ["live", "live"]
    ids = [one["id"] for one in taught]
    merged = call("adapter", "merge", *ids, "--method=ties", "--weight=1", "--weight=0.5", "--wait")
    assert merged["state"] == "live"
    assert [one["id"] for one in merged["memories"]] == memories
    problem = call("adapter", "merge", *ids, "--method=median", code=ExitCode.INVALID)
    assert problem["code"] == "invalid_input"
    folder = tmp_path / "adapter"
    written = call("adapter", "export", merged["id"], str(folder))
    assert written == {"id": merged["id"], "folder": str(folder)}
    sources = [f"--source={id}" for id in memories]
    brought = call("adapter", "import", str(folder), *sources, "--wait")
    assert (brought["state"], brought["adapter"]) == ("live", merged["adapter"])
    assert run("adapter", "import", str(folder)).exit_code == ExitCode.INVALID
    again = call("adapter", "export", merged["id"], str(folder), code=ExitCode.INVALID)
    assert again["code"] == "invalid_input"
    shown = run("adapter", "export", merged["id"], str(tmp_path / "other"))
    assert shown.exit_code == ExitCode.DONE and (tmp_path / "other").is_dir()


def test_caches_say_which_adapter_they_are_for(
    call: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    rules = [call("add", f"Rule {number} of the house is kept")["id"] for number in range(12)]
    block = call("convert", *rules)["id"]
    lesson = call("adapter", "teach", rules[0], "--wait")["id"]
    assert call("kv", "explain", block)["adapted"] == []
    assert "with adapter" not in run("kv", "explain", block).stdout
    call("chat", "Which rule?", "--model", f"hashing:{lesson}", "--max-tokens=4")
    deadline = time.monotonic() + 60
    while not (found := call("kv", "explain", block)["adapted"]) or found[0]["state"] != "hot":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert (found[0]["adapter_id"], found[0]["memories"]) == (lesson, len(rules) - 1)
    (listed,) = call("kv", "ls")["caches"]
    assert [one["adapter"] for one in listed["adapted"]] == [found[0]["adapter"]]
    lines = [line for line in run("kv", "ls").stdout.splitlines() if block in line]
    assert [lesson in line for line in lines] == [False, True]
    (line,) = [line for line in run("kv", "explain", block).stdout.splitlines() if lesson in line]
    assert "with adapter" in line and "hot, 11 memories" in line
    assert call("kv", "evict", block)["adapted"] == []
