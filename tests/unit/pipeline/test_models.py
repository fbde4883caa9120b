"""PIPE-1: what follows a commit and needs a model: lessons and KV caches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import ENDED, RunState
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.gateway.pipelines.models import RunRequest
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer


async def test_PIPE_1_memories_are_converted_and_taught_after_the_commit(tmp_path: Path) -> None:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path / "tokenizer"))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    trainer = RandomTrainer()
    trainer.go_on.set()
    folder = tmp_path / "data"
    async with in_process(
        folder, models={"hashing": model}, kv_builder=model, trainer=trainer
    ) as memos:
        admin, doorway = memos.administrator, memos.doorway
        facts = [NewMemory(text=f"{name} lives in Lima, by the sea.") for name in ("Ana", "Ben")]
        await memos.service.add(admin, facts)
        steps = [
            {"kind": "retrieve", "id": "facts", "query": "Lima"},
            {"kind": "convert", "id": "cache", "of": "facts", "model": "hashing"},
            {"kind": "teach", "id": "learn", "of": "facts", "model": "hashing"},
        ]
        definition = read_definition({"name": "learn", "steps": steps})
        begun = await doorway.pipelines.run(admin, RunRequest(definition=definition))
        async with asyncio.timeout(60):
            run = begun
            while run.state not in ENDED:
                await asyncio.sleep(0.01)
                run = await doorway.pipelines.status(admin, begun.id)
        assert run.state is RunState.DONE, run
        assert len((await doorway.activation.caches(admin)).caches) == 1
        (lesson,) = (await doorway.parameter.lessons(admin)).lessons
        assert len(lesson.memories) == 2
