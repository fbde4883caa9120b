"""CUBE-4 and EVO-1 at the door: feedback is kept and judged, what use suggests is undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos_ray.actors.vault import upkeep
from memos_ray.actors.vault.shard import VaultShard
from memos_ray.adapters.archived_contents import ArchivedContents
from memos_ray.adapters.blobs import BlobStore
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import SemanticType, Visibility
from memos_ray.core.evolution import EvolutionKind, EvolutionMode, EvolvedState, Verdict
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.vault.lineage import Trigger
from memos_ray.core.vault.ring import partition_of
from memos_ray.errors import (
    IllegalStateError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    VersionConflictError,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.evolution.models import EvolutionProposal, Feedback
from memos_ray.gateway.memories.models import Memory, MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.gateway.memories.record_models import LogFilter
from memos_ray.ports import Derivation
from memos_ray.testing.heads import every_head
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

OLD = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    settings = VaultSettings(partitions=4, usage_flush_s=0.05)
    async with in_process(tmp_path, settings=settings, models={"quoting": QuotingModel()}) as memos:
        yield memos


async def add(memos: InProcess, id: str, text: str, **fields: object) -> None:
    memory = NewMemory(id=id, text=text, **fields)  # type: ignore[arg-type]
    assert not (await memos.service.add(memos.administrator, [memory])).failed


async def said(
    memos: InProcess, useful: bool, caller: Caller | None = None, **about: object
) -> dict[str, float]:
    feedback = Feedback(useful=useful, **about)  # type: ignore[arg-type]
    service = memos.doorway.evolution
    place = memos.administrator_id
    result = await service.feedback(caller or memos.administrator, feedback, place)
    return result.worth


async def chat(memos: InProcess, *turns: str) -> ChatAnswer:
    messages = [
        Turn(role="user" if number % 2 == 0 else "assistant", content=text)
        for number, text in enumerate(turns)
    ]
    query = ChatQuery(model="quoting", messages=messages)
    answer = await memos.doorway.chats.chat(memos.administrator, query)
    await memos.doorway.chats.settle()
    return answer


async def usefulness(memos: InProcess, id: str) -> float:
    """What a memory's own indicator says once it was written out."""
    async with asyncio.timeout(60):
        while True:
            memory = await memos.service.get(memos.administrator, id)
            if memory.usage is not None and memory.usage.usefulness:
                return memory.usage.usefulness
            await asyncio.sleep(0.02)


async def found(memos: InProcess, query: str) -> list[str]:
    asked = SearchQuery(query=query, explain=True)
    return [hit.memory.id for hit in (await memos.service.search(memos.administrator, asked)).hits]


async def test_CUBE_4_one_opinion_each_however_often(memos: InProcess) -> None:
    await add(memos, "m", "Foxes are red.")
    for _ in range(5):
        assert await said(memos, True, memory_id="m") == {"m": 1.0}
    assert await usefulness(memos, "m") == 1.0
    assert await said(memos, False, memory_id="m") == {"m": -1.0}
    entries = await memos.doorway.logs.log(
        memos.administrator, wanted=LogFilter(reads=True, memory_id="m", operation="feedback")
    )
    assert [one.detail["value"] for one in entries.entries] == [1.0] * 5 + [-1.0]


async def test_CUBE_4_feedback_on_what_is_hidden_finds_nothing(memos: InProcess) -> None:
    await add(memos, "m", "Foxes are red.", visibility=Visibility.PRIVATE)
    ben = await memos.caller("user:ben")
    for id in ("m", "never-was"):
        with pytest.raises(NotFoundError):
            await said(memos, False, ben, memory_id=id)
    answer = await chat(memos, "What colour are foxes?")
    with pytest.raises(NotFoundError):
        await said(memos, True, ben, response=answer.response)
    with pytest.raises(NotFoundError):
        await said(memos, True, response="unknown")


async def test_CUBE_4_praise_of_an_answer_is_shared_by_its_memories(memos: InProcess) -> None:
    await add(memos, "red", "Foxes are red.")
    await add(memos, "shy", "Foxes are shy.")
    answer = await chat(memos, "How are foxes?")
    assert {one.id for one in answer.memories} == {"red", "shy"}
    assert await said(memos, True, response=answer.response) == {"red": 0.5, "shy": 0.5}


async def test_CUBE_4_implicit_signs_are_counted(memos: InProcess) -> None:
    await add(memos, "lisbon", "Ana moved to Lisbon because the harbour resembles Valparaiso.")
    # The model quotes its prompt: all of the memory comes back.
    await chat(memos, "Why did she move?")
    status = await memos.doorway.evolution.status(memos.administrator)
    assert status.worth == {"lisbon": pytest.approx(0.1)}
    assert await usefulness(memos, "lisbon") == pytest.approx(0.1)
    question = "Why did Ana move away last spring?"
    await chat(memos, question)
    before = (await memos.doorway.evolution.status(memos.administrator)).worth["lisbon"]
    # Asked again, the answer before cannot have helped; this one quotes, though.
    await chat(memos, question, "Because.", question)
    after = (await memos.doorway.evolution.status(memos.administrator)).worth["lisbon"]
    assert after == pytest.approx(before)


async def test_CUBE_4_opinions_survive_the_shard_and_go_with_the_memory(memos: InProcess) -> None:
    await add(memos, "m", "Foxes are red.")
    await said(memos, True, memory_id="m", note="It was right about the colour.")
    for name in list(memos.crew.shards):
        memos.crew.cut_off(name)
        await memos.crew.start_shard(name)
    await memos.supervisor.boot()
    assert (await memos.doorway.evolution.status(memos.administrator)).worth == {"m": 1.0}
    await memos.service.delete(memos.administrator, "m", hard=True)
    async with asyncio.timeout(60):
        while any(memos.store.derivations(number, "opinion") for number in range(4)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_EVO_1_usefulness_moves_what_is_close_and_says_so(memos: InProcess) -> None:
    await add(memos, "a", "The red fox sleeps in the old barn.")
    await add(memos, "b", "The red fox sleeps in the old mill.")
    for number in range(8):
        await add(memos, f"other-{number}", f"Number {number} tells of trains and of boats.")
    first, second = (await found(memos, "Where does the red fox sleep?"))[:2]
    for principal in ("user:ben", "user:eva", "user:tom"):
        caller = await memos.caller(principal)
        await memos.service.share(memos.administrator, second, Sharing(readers=[principal]))
        await said(memos, True, caller, memory_id=second)
    assert (await found(memos, "Where does the red fox sleep?"))[:2] == [second, first]
    asked = SearchQuery(query="Where does the red fox sleep?", explain=True)
    hit = (await memos.service.search(memos.administrator, asked)).hits[0]
    assert any(part.signal == "worth" for part in hit.signals)
    assert hit.score == pytest.approx(sum(part.contribution for part in hit.signals))


async def praise(memos: InProcess, id: str) -> None:
    """Has four people find a memory useful."""
    people = [f"user:{name}" for name in ("ben", "eva", "tom", "zoe")]
    await memos.service.share(memos.administrator, id, Sharing(readers=people))
    for one in people:
        await said(memos, True, await memos.caller(one), memory_id=id)


async def pages(memos: InProcess, limit: int, **asked: object) -> list[str]:
    """Ids of all pages of a search, in order."""
    ids, cursor = list[str](), None
    while True:
        query = SearchQuery(
            query="Where does the red fox sleep?", limit=limit, cursor=cursor, **asked
        )  # type: ignore[arg-type]
        page = await memos.service.search(memos.administrator, query)
        ids += [hit.memory.id for hit in page.hits]
        cursor = page.cursor
        if cursor is None:
            return ids


async def test_EVO_1_pages_show_each_memory_once_whatever_it_is_worth(memos: InProcess) -> None:
    for place in ("barn", "mill", "shed", "wood"):
        await add(memos, place, f"The red fox sleeps in the old {place}.")
    for number in range(4):
        await add(memos, f"other-{number}", f"Number {number} tells of trains and of boats.")
    plain = await pages(memos, 8)
    await praise(memos, plain[1])
    await praise(memos, plain[3])
    ranked = await pages(memos, 8)
    assert ranked != plain
    for limit in (1, 2, 3):
        assert await pages(memos, limit) == ranked


async def test_EVO_1_worth_counts_alike_in_merged_answers(memos: InProcess) -> None:
    for place in ("barn", "mill", "shed", "wood"):
        await add(memos, place, f"The red fox sleeps in the old {place}.")
    for number in range(4):
        await add(memos, f"other-{number}", f"Number {number} tells of trains and of boats.")
    asked = SearchQuery(query="Where does the red fox sleep?", include_archived=True, explain=True)
    # Of two that have helped, neither helps less for the other.
    for place in ("mill", "wood"):
        await praise(memos, place)
        hits = (await memos.service.search(memos.administrator, asked)).hits
        worth = [part for hit in hits for part in hit.signals if part.signal == "worth"]
        assert worth and all(part.contribution > 0.1 for part in worth)


async def add_episodes(memos: InProcess) -> None:
    for number in range(6):
        await add(
            memos,
            f"e{number}",
            f"On day {number} Ben walked to the lake. It was cold on day {number}.",
            semantic_type=SemanticType.EPISODE,
            conversation="walks",
            session="s1",
            position=number,
            event_time=OLD,
        )


async def episodes(memos: InProcess) -> EvolutionProposal:
    await add_episodes(memos)
    status = await memos.doorway.evolution.evolve(memos.administrator)
    (one,) = status.proposals
    return one


async def got(memos: InProcess, id: str) -> Memory:
    return await memos.service.get(memos.administrator, id)


async def test_EVO_1_a_summary_is_proposed_made_and_undone(memos: InProcess) -> None:
    one = await episodes(memos)
    assert (one.kind, one.state) == (EvolutionKind.SUMMARY, EvolvedState.OPEN)
    assert len(one.reasons) == 2 and len(one.texts) == 1
    assert (await got(memos, "e0")).state is State.ACTIVATED
    service = memos.doorway.evolution
    done = await service.settle(memos.administrator, one.id, Verdict.ACCEPT)
    (made,) = done.made
    summary = await got(memos, made.id)
    assert summary.text == one.texts[0]
    assert {source.memory_id for source in summary.sources} == {f"e{n}" for n in range(6)}
    assert (await got(memos, "e0")).state is State.ARCHIVED
    lineage = await memos.doorway.provenance.provenance(memos.administrator, made.id)
    assert len(lineage.nodes) == 7
    with pytest.raises(IllegalStateError):
        await service.settle(memos.administrator, one.id, Verdict.ACCEPT)
    undone = await service.settle(memos.administrator, one.id, Verdict.UNDO)
    assert undone.state is EvolvedState.UNDONE
    assert (await got(memos, "e0")).state is State.ACTIVATED
    assert (await got(memos, made.id)).state is State.DELETED
    # What was undone does not come again.
    assert (await service.evolve(memos.administrator)).proposals == []


def held(memos: InProcess) -> list[MemCube]:
    return [cube for partition in range(4) for cube in every_head(memos.store, partition)]


async def test_EVO_1_what_was_refused_does_not_come_again_for_fewer_memories(
    memos: InProcess,
) -> None:
    one = await episodes(memos)
    service = memos.doorway.evolution
    await service.settle(memos.administrator, one.id, Verdict.REFUSE)
    for _ in range(2):
        await got(memos, "e0")
    # From now on it is no memory that is seldom read.
    await eventually(lambda: any(cube.usage.access_count for cube in held(memos)))
    assert (await service.evolve(memos.administrator)).proposals == []
    change = MemoryChange(text="On day 3 Ben drove to the lake.")
    await memos.service.update(memos.administrator, "e3", change)
    (other,) = (await service.evolve(memos.administrator)).proposals
    assert {source.id for source in other.sources} == {f"e{n}" for n in range(1, 6)}


async def test_EVO_1_all_or_nothing_when_a_memory_has_moved_on(memos: InProcess) -> None:
    one = await episodes(memos)
    service = memos.doorway.evolution
    change = MemoryChange(text="Ben drove to the lake.")
    await memos.service.update(memos.administrator, "e3", change)
    with pytest.raises(VersionConflictError):
        await service.settle(memos.administrator, one.id, Verdict.ACCEPT)
    assert (await got(memos, "e0")).state is State.ACTIVATED


class Forgetful(MemoryRecordStore):
    """A store that is away once, when a proposal is to be written down."""

    armed = False

    def save_derivation(self, partition: int, epoch: int, row: Derivation) -> None:
        """Fails once when it is armed."""
        if self.armed and row.kind == "evolution_proposal":
            self.armed = False
            raise UnavailableError("the store is away")
        super().save_derivation(partition, epoch, row)


@pytest.mark.parametrize("verdict", [Verdict.ACCEPT, Verdict.UNDO])
async def test_EVO_1_done_and_not_written_down_is_done_once(
    tmp_path: Path, verdict: Verdict
) -> None:
    """As after a crash between the commit and its note."""
    store = Forgetful(ArchivedContents(lambda: BlobStore.local(tmp_path / "blobs")))
    async with in_process(tmp_path, store=store, settings=VaultSettings(partitions=4)) as memos:
        one = await episodes(memos)
        service = memos.doorway.evolution
        if verdict is Verdict.UNDO:
            await service.settle(memos.administrator, one.id, Verdict.ACCEPT)
        store.armed = True
        # The door asks once more, as a caller would.
        done = await service.settle(memos.administrator, one.id, verdict)
        assert not store.armed and len(done.made) == 1
        listed = (await memos.service.list(memos.administrator, limit=100)).memories
        assert len(listed) == (7 if verdict is Verdict.ACCEPT else 6)
        wanted = State.ARCHIVED if verdict is Verdict.ACCEPT else State.ACTIVATED
        assert (await got(memos, "e5")).state is wanted


async def test_EVO_1_an_undo_does_not_overwrite_what_was_changed_since(memos: InProcess) -> None:
    one = await episodes(memos)
    service = memos.doorway.evolution
    done = await service.settle(memos.administrator, one.id, Verdict.ACCEPT)
    change = MemoryChange(text="A better summary.")
    await memos.service.update(memos.administrator, done.made[0].id, change)
    with pytest.raises(VersionConflictError):
        await service.settle(memos.administrator, one.id, Verdict.UNDO)
    assert (await got(memos, "e0")).state is State.ARCHIVED


async def test_EVO_1_who_may_see_decide_and_set(memos: InProcess) -> None:
    one = await episodes(memos)
    service = memos.doorway.evolution
    ben = await memos.caller("user:ben")
    place = memos.administrator_id
    with pytest.raises(NotFoundError):
        await service.settle(ben, one.id, Verdict.REFUSE, place)
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        await service.evolve(ben, place)
    with pytest.raises((NotFoundError, PermissionDeniedError)):
        await service.status(ben, place)
    refused = await service.settle(memos.administrator, one.id, Verdict.REFUSE)
    assert refused.state is EvolvedState.REFUSED
    assert (await service.evolve(memos.administrator)).proposals == []


async def test_EVO_1_automatic_does_it_and_a_restart_changes_nothing(memos: InProcess) -> None:
    service = memos.doorway.evolution
    status = await service.evolve(memos.administrator, mode=EvolutionMode.AUTOMATIC)
    assert status.mode is EvolutionMode.AUTOMATIC
    one = await episodes(memos)
    assert one.state is EvolvedState.ACCEPTED
    lineage = await memos.doorway.provenance.provenance(memos.administrator, one.made[0].id)
    assert lineage.nodes[0].made.trigger is Trigger.EVOLUTION
    counters: dict[str, Any] = {}
    for shard in memos.crew.shards.values():
        counters |= (await shard.status()).counters
    assert counters["evolution_proposed"] == 1 and counters["evolution_accepted"] == 1
    for name in list(memos.crew.shards):
        memos.crew.cut_off(name)
        await memos.crew.start_shard(name)
    await memos.supervisor.boot()
    (again,) = (await service.evolve(memos.administrator)).proposals
    assert again == one


async def test_EVO_1_it_is_looked_for_by_itself_where_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_SWEEP_S", 0.0)
    vault = VaultSettings(partitions=4, usage_flush_s=0.05)
    async with in_process(tmp_path, settings=vault) as memos:
        service = memos.doorway.evolution
        await service.evolve(memos.administrator, mode=EvolutionMode.PROPOSE)
        await add_episodes(memos)
        async with asyncio.timeout(60):
            while not (await service.status(memos.administrator)).proposals:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        (one,) = (await service.status(memos.administrator)).proposals
        # Proposed, and no more than that.
        assert one.state is EvolvedState.OPEN
        assert (await got(memos, "e0")).state is State.ACTIVATED


async def test_EVO_1_a_long_memory_is_split_by_how_it_is_used(memos: InProcess) -> None:
    topics = ("gardens", "engines", "harbours", "violins", "glaciers")
    text = "\n".join(
        f"{topic.capitalize()} number{at}a number{at}b number{at}c. " + f"More of {topic}. " * 20
        for at, topic in enumerate(topics)
    )
    await add(memos, "long", text)
    shard, partition = await home_of(memos)
    context = CallContext(Principal("default", memos.administrator_id, ("admin",)))
    for part in (0, 0, 0, 3, 3, 3):
        answered = AnsweredPrompt(
            context,
            memos.administrator_id,
            "quoting",
            (("long", 10),),
            "a",
            "b",
            echoes=(("long", (part,)),),
        )
        await shard.answered(partition, answered)
    service = memos.doorway.evolution
    (one,) = (await service.evolve(memos.administrator)).proposals
    assert one.kind is EvolutionKind.SPLIT and len(one.texts) >= 4
    done = await service.settle(memos.administrator, one.id, Verdict.ACCEPT)
    texts = [(await got(memos, made.id)).text for made in done.made]
    assert "".join("".join(texts).split()) == "".join(text.split())
    assert (await got(memos, "long")).state is State.ARCHIVED


async def home_of(memos: InProcess) -> tuple[VaultShard, int]:
    partition = partition_of("default", memos.administrator_id, 0, 4)
    for shard in memos.crew.shards.values():
        if partition in (await shard.status()).partitions:
            return shard, partition
    raise AssertionError("nobody has the partition")


class Counted(MemoryRecordStore):
    """A store that counts the transactions that opinions take."""

    transactions = 0

    def save_derivations(self, partition: int, epoch: int, rows: Sequence[Derivation]) -> None:
        """See `DerivationsPort.save_derivations`."""
        self.transactions += "opinion" in {row.kind for row in rows}
        super().save_derivations(partition, epoch, rows)


async def test_CUBE_4_the_signs_of_an_answer_are_one_transaction(tmp_path: Path) -> None:
    store = Counted(ArchivedContents(lambda: BlobStore.local(tmp_path / "blobs")))
    async with in_process(tmp_path, store=store, settings=VaultSettings(partitions=4)) as memos:
        ids = [f"m{number}" for number in range(6)]
        for id in ids:
            await add(memos, id, f"The {id} fox sleeps in the old barn.")
        shard, partition = await home_of(memos)
        context = CallContext(Principal("default", memos.administrator_id, ("admin",)))
        answered = AnsweredPrompt(
            context,
            memos.administrator_id,
            "quoting",
            tuple((id, 10) for id in ids),
            "a",
            "b",
            echoes=tuple((id, (0,)) for id in (*ids, ids[0], "absent")),
        )
        await shard.answered(partition, answered)
        assert store.transactions == 1
        status = await memos.doorway.evolution.status(memos.administrator)
        wanted = {id: pytest.approx(0.1) for id in ids} | {ids[0]: pytest.approx(0.2)}
        assert status.worth == wanted
        # Asked again: those of the answer before lose it, in the same transaction.
        await shard.answered(partition, replace(answered, echoes=(("m1", (0,)),), repeated=True))
        assert store.transactions == 2
        status = await memos.doorway.evolution.status(memos.administrator)
        assert status.worth == {ids[0]: pytest.approx(0.1), "m1": pytest.approx(0.1)}
