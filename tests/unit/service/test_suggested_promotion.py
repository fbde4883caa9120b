"""EVO-1: what use suggests to promote is proposed with the policy's reasons, done and undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.core.cube.cube import State
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.core.evolution import EvolutionKind, EvolutionMode, EvolvedState, Verdict
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.parameter import TeachingState
from memos_ray.errors import IllegalStateError, NotFoundError, PermissionDeniedError
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.evolution.models import EvolutionProposal
from memos_ray.gateway.memories.models import Memory, NewMemory, Sharing
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import in_process
from memos_ray.testing.models import ReplicaModel
from tests.unit.service import test_proposals as lessons
from tests.unit.service.test_promotion import MODEL, RULES, Bench, tokenizer

__all__ = ["tokenizer"]


@pytest.fixture
async def bench(tokenizer: ModelTokenizer, tmp_path: Path) -> AsyncIterator[Bench]:
    replica = ModelReplica(HashingEngine(), tokenizer, context_tokens=2048)
    model, clock = ReplicaModel(replica), ManualClock()
    async with in_process(
        tmp_path,
        models={MODEL: model},
        kv_builder=model,
        promoting={MODEL: replace(RULES, automatic=False)},
        clock=clock,
    ) as memos:
        facts = [
            NewMemory(text=f"The {what} of the office in the north is kept by {who}, every day.")
            for what, who in (("garden", "Ana"), ("archive", "Ben"), ("kitchen", "Cleo"))
        ]
        await memos.service.add(memos.administrator, facts)
        yield Bench(memos, replica, clock)


async def used(bench: Bench) -> None:
    for _ in range(5):
        await bench.ask("Who keeps the garden?")


async def looked(bench: Bench | lessons.Bench) -> list[EvolutionProposal]:
    service, admin = bench.memos.doorway.evolution, bench.memos.administrator
    return (await service.evolve(admin)).proposals


async def settled(
    bench: Bench | lessons.Bench, one: EvolutionProposal, verdict: Verdict
) -> EvolutionProposal:
    service, admin = bench.memos.doorway.evolution, bench.memos.administrator
    return await service.settle(admin, one.id, verdict)


async def got(bench: Bench | lessons.Bench, id: str) -> Memory:
    return await bench.memos.service.get(bench.memos.administrator, id)


async def test_EVO_1_what_is_used_is_proposed_as_a_cache_and_undone(bench: Bench) -> None:
    assert await looked(bench) == []
    await used(bench)
    assert await bench.automatic() == [], "it is left to whoever decides"
    (one,) = await looked(bench)
    assert (one.kind, one.model, one.form) == (EvolutionKind.PROMOTION, MODEL, Form.ACTIVATION)
    assert "each found for at least 5.0 of 5.0 prompts" in one.reasons[0]
    assert "3 are asked for" in one.reasons[1] and one.texts == []
    assert await looked(bench) == [one], "it is proposed once"
    done = await settled(bench, one, Verdict.ACCEPT)
    (block,) = await bench.automatic()
    assert [made.id for made in done.made] == [block.id]
    assert {source.memory_id for source in block.sources} == {source.id for source in one.sources}
    answer = await bench.ask("Who keeps the garden?")
    assert {item.form for item in answer.memories} == {Form.ACTIVATION}
    assert [item.state for item in await looked(bench)] == [EvolvedState.ACCEPTED]
    with pytest.raises(IllegalStateError):
        await settled(bench, one, Verdict.ACCEPT)
    undone = await settled(bench, one, Verdict.UNDO)
    assert undone.state is EvolvedState.UNDONE
    assert (await got(bench, block.id)).state is State.DELETED
    assert await looked(bench) == [], "what was undone does not come again"


async def test_EVO_1_a_refused_promotion_does_not_come_again(bench: Bench) -> None:
    await used(bench)
    (one,) = await looked(bench)
    refused = await settled(bench, one, Verdict.REFUSE)
    assert refused.state is EvolvedState.REFUSED
    await used(bench)
    assert await looked(bench) == [] and await bench.automatic() == []


async def test_EVO_1_it_is_withdrawn_when_it_pays_no_longer(bench: Bench) -> None:
    await used(bench)
    (one,) = await looked(bench)
    ids = [source.id for source in one.sources]
    await bench.memos.doorway.activation.convert(
        bench.memos.administrator, Conversion(ids=ids, model=MODEL)
    )
    assert await looked(bench) == [], "somebody has converted them on purpose"
    with pytest.raises(NotFoundError):
        await settled(bench, one, Verdict.ACCEPT)


async def test_EVO_1_automatic_promotes_with_the_rights_of_who_set_it(bench: Bench) -> None:
    admin = bench.memos.administrator
    await bench.memos.doorway.evolution.evolve(admin, mode=EvolutionMode.AUTOMATIC)
    await used(bench)
    (one,) = await looked(bench)
    assert one.state is EvolvedState.ACCEPTED
    (block,) = await bench.automatic()
    assert block.owner == bench.memos.administrator_id
    counters: dict[str, int] = {}
    for shard in bench.memos.crew.shards.values():
        counters |= (await shard.status()).counters
    assert counters["promotions"] == len(one.sources)
    assert counters["evolution_proposed"] == counters["evolution_accepted"] == 1


async def test_EVO_1_nobody_is_shown_what_may_not_be_read(bench: Bench) -> None:
    await used(bench)
    (one,) = await looked(bench)
    ben = await bench.memos.caller("user:ben")
    service, place = bench.memos.doorway.evolution, bench.memos.administrator_id
    for verdict in (Verdict.ACCEPT, Verdict.REFUSE):
        with pytest.raises(NotFoundError):
            await service.settle(ben, one.id, verdict, place)


async def test_EVO_1_a_lesson_that_is_proposed_is_a_proposal_here_too(
    tokenizer: ModelTokenizer, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        bench = lessons.Bench(tmp_path, tokenizer, stack)
        await bench.open()
        await bench.fill()
        own = await bench.proposed()
        (one,) = await looked(bench)
        assert (one.id, one.form, one.model) == (own.id, Form.PARAMETER, MODEL)
        assert one.reasons == own.reasons
        done = await settled(bench, one, Verdict.ACCEPT)
        assert await bench.proposals() == []
        (made,) = done.made
        parameter = bench.memos.doorway.parameter
        async with asyncio.timeout(60):
            while (await parameter.lesson(bench.admin, made.id)).state is TeachingState.TRAINING:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await got(bench, made.id)).form is Form.PARAMETER
        await settled(bench, one, Verdict.UNDO)
        assert (await got(bench, made.id)).state is State.DELETED


async def test_EVO_1_who_may_not_have_what_was_learnt_does_not_leave_it_behind(
    tokenizer: ModelTokenizer, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        bench = lessons.Bench(tmp_path, tokenizer, stack)
        await bench.open()
        await bench.fill()
        ben = await bench.memos.caller("user:ben")
        sharing = Sharing(visibility=Visibility.SHARED, readers=["user:ben"])
        await bench.memos.service.share(bench.admin, bench.ids[0], sharing)
        bench.clock.advance(100 * lessons.DAY)
        await bench.proposed()
        (one,) = await looked(bench)
        (made,) = (await settled(bench, one, Verdict.ACCEPT)).made
        parameter = bench.memos.doorway.parameter
        async with asyncio.timeout(60):
            while (await parameter.lesson(bench.admin, made.id)).state is TeachingState.TRAINING:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        service, place = bench.memos.doorway.evolution, bench.memos.administrator_id
        with pytest.raises((NotFoundError, PermissionDeniedError)):
            await service.settle(ben, one.id, Verdict.UNDO, place)
        assert (await got(bench, made.id)).state in LIVE
        assert [item.state for item in await looked(bench)] == [EvolvedState.ACCEPTED]
        await settled(bench, one, Verdict.UNDO)
        assert (await got(bench, made.id)).state is State.DELETED
