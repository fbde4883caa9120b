"""Commands on adapters: taught, combined, written into a folder and read from it."""

from __future__ import annotations

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
