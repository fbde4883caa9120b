"""The memory API over real shards, stores and policy, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_ray.config import LimitSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.vault.operations import Create, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    FrozenError,
    IdempotencyConflictError,
    IllegalStateError,
    InvalidCursorError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    VersionConflictError,
)
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery, Sharing
from memos_ray.testing.in_process import InProcess, in_process

_MAY_2023 = datetime(2023, 5, 1, tzinfo=UTC)
_MAY_2024 = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, limits=LimitSettings(text_bytes=1000)) as running:
        yield running


async def _add(memos: InProcess, *texts: str) -> list[str]:
    report = await memos.service.add(memos.administrator, [NewMemory(text=t) for t in texts])
    assert not report.failed
    return [result.id or "" for result in report.results]


async def test_VAULT_3_what_is_added_is_found_at_once_and_explained(memos: InProcess) -> None:
    await _add(memos, "The cat sleeps on the warm stove", "Rain is forecast for Sunday")
    found = await memos.service.search(
        memos.administrator, SearchQuery(query="where is the cat sleeping?", explain=True)
    )
    first = found.hits[0]
    assert first.memory.text == "The cat sleeps on the warm stove"
    assert first.score == pytest.approx(sum(s.contribution for s in first.signals))


async def test_every_hit_counts_as_an_access(memos: InProcess) -> None:
    (memory_id,) = await _add(memos, "a single memory about lighthouses")
    for _ in range(3):
        await memos.service.search(memos.administrator, SearchQuery(query="lighthouses"))
    for shard in memos.crew.shards.values():
        await shard.disown(range(4))
    found = await memos.service.get(memos.administrator, memory_id)
    assert found.usage.access_count == 3
    assert found.usage.agents == ["user:admin"]


async def test_CUBE_1_a_minted_id_is_found_without_its_namespace(memos: InProcess) -> None:
    place = await memos.namespace("user:admin/elsewhere")
    report = await memos.service.add(memos.administrator, [NewMemory(text="elsewhere")], place)
    found = await memos.service.get(memos.administrator, report.results[0].id or "")
    assert found.namespace == "user:admin/elsewhere"


async def test_CUBE_5_history_rollback_and_diff(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    (memory_id,) = await _add(memos, "lives in Rome")
    await service.update(me, memory_id, MemoryChange(text="lives in Milan", reason="moved"))
    diff = await service.diff(me, memory_id, 1, 2)
    assert "-lives in Rome" in diff.text and "+lives in Milan" in diff.text
    await service.rollback(me, memory_id, 1)
    assert (await service.get(me, memory_id)).text == "lives in Rome"
    assert (await service.get(me, memory_id, version=2)).text == "lives in Milan"
    history = await service.history(me, memory_id)
    assert [(v.number, v.change.value) for v in history.versions] == [
        (3, "rollback"),
        (2, "merge"),
        (1, "create"),
    ]


async def test_API_4_compare_and_set(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    (memory_id,) = await _add(memos, "one")
    await service.update(me, memory_id, MemoryChange(text="two", expected_version=1))
    with pytest.raises(VersionConflictError):
        await service.update(me, memory_id, MemoryChange(text="three", expected_version=1))


async def test_API_4_idempotent_retries_act_once(memos: InProcess) -> None:
    item = NewMemory(text="only once", idempotency_key="k1")
    first = await memos.service.add(memos.administrator, [item])
    again = await memos.service.add(memos.administrator, [item])
    assert again.results[0].replayed and again.results[0].id == first.results[0].id
    other = await memos.service.add(
        memos.administrator, [NewMemory(text="another text", idempotency_key="k1")]
    )
    assert other.results[0].error is not None
    assert other.results[0].error.code == IdempotencyConflictError.code


async def test_each_item_has_its_own_outcome(memos: InProcess) -> None:
    report = await memos.service.add(
        memos.administrator,
        [NewMemory(text="fine"), NewMemory(text="x" * 1001), NewMemory(text="fine, too")],
    )
    assert [result.ok for result in report.results] == [True, False, True]
    assert report.results[1].error is not None
    assert report.results[1].error.code == "payload_too_large"


async def test_soft_delete_hides_and_restore_brings_back(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    (memory_id,) = await _add(memos, "to be deleted: walrus")
    await service.delete(me, memory_id)
    assert not (await service.search(me, SearchQuery(query="walrus"))).hits
    assert not (await service.list(me)).memories
    with pytest.raises(IllegalStateError):
        await service.update(me, memory_id, MemoryChange(text="no"))
    await service.restore(me, memory_id)
    assert (await service.search(me, SearchQuery(query="walrus"))).hits


async def test_GOV_9_hard_delete_leaves_nothing(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    (memory_id,) = await _add(memos, "a secret about walruses")
    await service.delete(me, memory_id, hard=True)
    for read in (service.get(me, memory_id), service.get(me, memory_id, version=1)):
        with pytest.raises(NotFoundError):
            await read
    assert not (await service.search(me, SearchQuery(query="walruses"))).hits
    log = await memos.doorway.logs.log(me)
    assert [entry.operation for entry in log.entries] == ["create", "erase"]
    assert "walrus" not in log.model_dump_json()


async def test_LIFE_2_frozen_memories_do_not_change(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    (memory_id,) = await _add(memos, "settled")
    await service.freeze(me, memory_id)
    for attempt in (
        service.update(me, memory_id, MemoryChange(text="changed")),
        service.delete(me, memory_id),
        service.share(me, memory_id, Sharing(readers=["user:bob"])),
    ):
        with pytest.raises(FrozenError):
            await attempt
    await service.freeze(me, memory_id, frozen=False)
    await service.update(me, memory_id, MemoryChange(text="changed"))


async def test_GOV_1_sharing_lets_one_in_and_nobody_else(memos: InProcess) -> None:
    service = memos.service
    bob, eve = await memos.caller("user:bob"), await memos.caller("user:eve")
    (memory_id,) = await _add(memos, "the code word is swordfish")
    with pytest.raises(NotFoundError):
        await service.get(bob, memory_id)
    await service.share(memos.administrator, memory_id, Sharing(readers=["user:bob"]))
    assert (await service.get(bob, memory_id)).text == "the code word is swordfish"
    found = await service.search(bob, SearchQuery(query="code word", namespaces=["user:admin"]))
    assert [hit.memory.id for hit in found.hits] == [memory_id]
    with pytest.raises(NotFoundError):
        await service.get(eve, memory_id)
    assert not (
        await service.search(eve, SearchQuery(query="code word", namespaces=["user:admin"]))
    ).hits
    with pytest.raises(PermissionDeniedError):
        await service.update(bob, memory_id, MemoryChange(text="changed by a reader"))
    await service.share(memos.administrator, memory_id, Sharing(remove=["user:bob"]))
    with pytest.raises(NotFoundError):
        await service.get(bob, memory_id)


async def test_the_past_is_read_by_todays_rules(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    bob = await memos.caller("user:bob")
    (memory_id,) = await _add(memos, "the meeting is in room blue")
    await service.share(me, memory_id, Sharing(readers=["user:bob"]))
    before = datetime.now(UTC)
    await service.update(me, memory_id, MemoryChange(text="the meeting is in room green"))
    query = SearchQuery(query="meeting room", namespaces=["user:admin"], as_of=before)
    assert (await service.search(bob, query)).hits[0].memory.text.endswith("blue")
    await service.share(me, memory_id, Sharing(remove=["user:bob"]))
    assert not (await service.search(bob, query)).hits
    assert (await service.search(me, query)).hits[0].memory.text.endswith("blue")


async def test_VAULT_3_filters_and_time_spans_narrow_a_search(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    items = [
        NewMemory(
            text="trip to the lake", tags=["travel"], event_time=datetime(2023, 5, 1, tzinfo=UTC)
        ),
        NewMemory(
            text="trip to the hills", tags=["travel"], event_time=datetime(2024, 5, 1, tzinfo=UTC)
        ),
        NewMemory(text="trip wire", tags=["tools"], attributes={"price": 12}),
    ]
    await service.add(me, items)

    async def texts(**conditions: object) -> set[str]:
        query = SearchQuery.model_validate({"query": "trip", **conditions})
        return {hit.memory.text for hit in (await service.search(me, query)).hits}

    assert await texts(tags=["travel"]) == {"trip to the lake", "trip to the hills"}
    assert await texts(filter="attributes.price > 10") == {"trip wire"}
    assert await texts(filter={"not": {"field": "tags", "op": "any", "value": ["travel"]}}) == {
        "trip wire"
    }
    assert await texts(tags=["travel"], until=datetime(2024, 1, 1, tzinfo=UTC)) == {
        "trip to the lake"
    }


async def test_what_has_ceased_to_hold_is_history(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    old = NewMemory(text="The key is under the mat", valid_to=_MAY_2023)
    new = NewMemory(text="The key is at the neighbour's", valid_from=_MAY_2023, valid_to=_MAY_2024)
    await service.add(me, [old, new, NewMemory(text="The key is brass")])

    async def found(**fields: object) -> set[str]:
        query = SearchQuery.model_validate({"query": "key", **fields})
        return {hit.memory.text for hit in (await service.search(me, query)).hits}

    assert await found() == {"The key is brass"}
    assert await found(include_ended=True) == {old.text, new.text, "The key is brass"}
    assert await found(include_ended=True, filter="has(valid_to)") == {old.text, new.text}


async def test_only_what_is_likely_to_matter_is_returned(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    await _add(memos, *(f"Note {number} about the weather in spring" for number in range(40)))
    await service.add(me, [NewMemory(text="Deploys go to the cluster with Helm", tags=["k8s"])])
    query = SearchQuery(query="k8s deploys", min_relevance=0.2, wait_indexed=True)
    found = await service.search(me, query)
    assert [hit.memory.tags for hit in found.hits] == [["k8s"]]
    assert found.hits[0].relevance is not None and found.hits[0].relevance >= 0.2
    nothing = await service.search(me, query.model_copy(update={"query": "violin strings"}))
    assert nothing.hits == []
    listed = await service.search(me, SearchQuery(query=""))
    assert {hit.relevance for hit in listed.hits} == {None}


async def test_pages_join_without_gap_or_repetition(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    ids = await _add(memos, *(f"page test number {n}" for n in range(25)))
    seen: list[str] = []
    cursor = None
    while True:
        page = await service.list(me, cursor=cursor, limit=10)
        seen += [memory.id for memory in page.memories]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    query = SearchQuery(query="page test", limit=10)
    first = await service.search(me, query)
    second = await service.search(me, query.model_copy(update={"cursor": first.cursor}))
    both = [hit.memory.id for hit in (*first.hits, *second.hits)]
    assert len(set(both)) == 20
    with pytest.raises(InvalidCursorError):
        await service.search(me, SearchQuery(query="other", cursor=first.cursor))


async def test_several_namespaces_are_searched_as_one(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    birds = await memos.namespace("user:admin/birds")
    papers = await memos.namespace("user:admin/papers")
    await service.add(me, [NewMemory(text="the red kite nests in the oak")], birds)
    await service.add(me, [NewMemory(text="tax forms are in the drawer")], papers)
    found = await service.search(
        me,
        SearchQuery(
            query="where does the kite nest?",
            namespaces=[birds, papers],
            explain=True,
        ),
    )
    assert found.hits[0].memory.namespace == birds
    for hit in found.hits:
        assert hit.score == pytest.approx(sum(s.contribution for s in hit.signals))


async def test_who_is_calling_comes_from_the_credential(memos: InProcess) -> None:
    for credential in ("", "nonsense", memos.administrator.credential[:-1] + "x"):
        with pytest.raises(UnauthenticatedError):
            await memos.service.list(replace(memos.administrator, credential=credential))


async def test_a_shard_that_is_cut_off_loses_its_partitions_and_no_write(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    before = await _add(memos, "written before the cut")
    zombie = memos.crew.cut_off("shard-0")
    after = await _add(memos, "written after the cut")
    context = CallContext(Principal("default", "user:admin"))
    partition = int(before[0][-4:], 16)
    late = Write("user:admin", Create(Plaintext("written by the zombie"), minted_id="late"))
    outcomes = await zombie.write(partition, [Submission(context, late)])
    assert getattr(outcomes[0], "code", None) == "fenced"
    texts = {memory.text for memory in (await service.list(me)).memories}
    assert texts == {"written before the cut", "written after the cut"}
    assert after


async def test_partitions_move_between_shards_under_writes(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    ids = await _add(memos, *(f"before {n}" for n in range(5)))
    ring = await memos.supervisor.scale(2)
    assert {len(ring.owned_by(name)) for name in ("shard-0", "shard-1")} == {2}
    ids += await _add(memos, *(f"after {n}" for n in range(5)))
    ring = await memos.supervisor.scale(1)
    assert set(ring.owners) == {"shard-0"}
    assert sorted(memory.id for memory in (await service.list(me)).memories) == sorted(ids)


async def test_an_id_that_was_minted_elsewhere_may_be_chosen(memos: InProcess) -> None:
    me, service = memos.administrator, memos.service
    (minted,) = await _add(memos, "mine")
    other = "0" if minted[-5] == "f" else "f"
    for partition in range(4):
        # Of the form of a minted id, and naming any partition.
        chosen = minted[:-5] + f"{other}{partition:04x}"
        report = await service.add(me, [NewMemory(text="imported", id=chosen)])
        assert report.results[0].id == chosen
        await service.update(me, chosen, MemoryChange(text="changed"))
        assert (await service.get(me, chosen)).text == "changed"
        assert (await service.get(me, chosen, version=1)).text == "imported"
        assert len((await service.history(me, chosen)).versions) == 2
        assert "+changed" in (await service.diff(me, chosen, 1, 2)).text


async def test_a_role_does_not_lift_what_has_nothing_to_do_with_the_question(
    memos: InProcess,
) -> None:
    me = memos.administrator
    items = [
        NewMemory(text="The night train leaves at nine."),
        NewMemory(text="I moved to Lisbon last month.", role="user"),
        NewMemory(text="Ana likes the sea."),
        NewMemory(text="The night train? It leaves at nine.", role="assistant"),
    ]
    await memos.service.add(me, items)
    found = await memos.service.search(me, SearchQuery(query="night train"))
    assert found.hits[0].memory.text == "The night train leaves at nine."
