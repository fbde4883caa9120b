"""Commands on proposals: listed with their reasons, accepted, refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("transformers")

from memos_ray.cli.exits import ExitCode
from memos_ray.core.scheduling import Learning
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.http_door import HttpDoor, http_door
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer

_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    trainer = RandomTrainer()
    trainer.go_on.set()
    # Whatever is found is worth a lesson.
    eager = Learning(conversations=1, settled_s=0.0, horizon_s=1e-3, lesson_share=0.0)
    folder = tmp_path_factory.mktemp("door")
    with http_door(folder, {"hashing": model}, model, trainer, {"hashing": eager}) as opened:
        yield opened


def proposed(call: Any, question: str) -> Any:
    deadline = time.monotonic() + _PATIENCE_S
    while not (found := call("adapter", "proposals")["proposals"]):
        assert time.monotonic() < deadline
        call("chat", question)
    (proposal,) = found
    return proposal


def test_proposals_are_decided_about(call: Any, run: Any) -> None:
    assert "Nothing is proposed" in run("adapter", "proposals").stdout
    first = call("add", "Ana lives in Lima")["id"]
    proposal = proposed(call, "Where does Ana live?")
    assert [one["id"] for one in proposal["memories"]] == [first]
    shown = run("adapter", "proposals")
    assert shown.exit_code == ExitCode.DONE
    text = " ".join(shown.stdout.split())
    assert proposal["id"] in text and "unchanged for at least" in text
    lesson = call("adapter", "accept", proposal["id"], "--wait")
    assert (lesson["state"], [one["id"] for one in lesson["memories"]]) == ("live", [first])
    second = call("add", "Ben lives in Rome")["id"]
    proposal = proposed(call, "Where does Ben live?")
    assert [(one["id"], one["learnt"]) for one in proposal["memories"]] == [
        (first, True),
        (second, False),
    ]
    assert call("adapter", "refuse", proposal["id"]) == proposal
    problem = call("adapter", "accept", proposal["id"], code=ExitCode.NOT_FOUND)
    assert problem["code"] == "not_found"
