"""Proposals through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from memos_ray import AsyncMemOS, InvalidInputError, NotFoundError
from memos_ray.core.parameter import TeachingState
from memos_ray.core.scheduling import Learning
from memos_ray.gateway.parameter.proposal_models import Proposal
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer

MODEL = "hashing"
# Whatever is found is worth a lesson.
EAGER = {MODEL: Learning(conversations=1, settled_s=0.0, horizon_s=1e-3, lesson_share=0.0)}


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path / "tokenizer"))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    trainer = RandomTrainer()
    trainer.go_on.set()
    return {
        "models": {MODEL: model},
        "kv_builder": model,
        "trainer": trainer,
        "learning": EAGER,
    }


async def proposed(memos: AsyncMemOS) -> Proposal:
    async with asyncio.timeout(60):
        while not (found := await memos.adapters.proposals()):
            await memos.chat("Where does Ana live?", max_tokens=2)
    (proposal,) = found
    return proposal


async def test_a_proposal_is_accepted(memos: AsyncMemOS) -> None:
    stored = await memos.add("Ana lives in Lima.")
    proposal = await proposed(memos)
    assert [(one.id, one.version) for one in proposal.memories] == [(stored.id, 1)]
    assert proposal.namespace == "user:admin" and proposal.model == MODEL and proposal.reasons
    lesson = await memos.adapters.accept(proposal.id)
    found = await memos.adapters.wait(lesson.id)
    assert found.state is TeachingState.LIVE
    assert await memos.adapters.proposals() == []
    with pytest.raises(NotFoundError):
        await memos.adapters.accept(proposal.id)


async def test_a_proposal_is_refused(memos: AsyncMemOS) -> None:
    await memos.add("Ana lives in Lima.")
    proposal = await proposed(memos)
    assert (await memos.adapters.refuse(proposal.id)).id == proposal.id
    with pytest.raises(NotFoundError):
        await memos.adapters.refuse(proposal.id)
    with pytest.raises(InvalidInputError):
        await memos.adapters.refuse("")
    assert await memos.adapters.proposals("user:nobody") == []
