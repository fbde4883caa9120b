"""Topics, predicted tags, relations and paths, from a write to the door."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.access.administration import GiveGrant, PutNamespace
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import MemoryCondition, NamespaceKind, default_spec
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.cube.predicted import Predicted
from memos_ray.core.organising.layers import Layer
from memos_ray.core.organising.relations import Relation
from memos_ray.errors import InvalidFilterError, NotFoundError, PermissionDeniedError
from memos_ray.gateway.browsing.models import RouteQuery, TopicList
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.testing.in_process import InProcess, in_process

SETTINGS = VaultSettings(partitions=4)
MUSIC = (
    "The guitar concert in the old hall was loud.",
    "She practises guitar chords before each concert.",
    "A new guitar concert is planned for the hall.",
    "The guitar teacher plays a concert on Sunday.",
)
GARDEN = (
    "Tomatoes and beans grow in the garden.",
    "The garden needs water for the tomatoes.",
    "Snails have eaten the beans in the garden.",
    "He planted tomatoes behind the garden shed.",
)


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=SETTINGS) as memos:
        yield memos


async def add(
    memos: InProcess,
    texts: Sequence[str],
    namespace: str | None = None,
    *,
    caller: Caller | None = None,
    **fields: object,
) -> list[str]:
    made = [NewMemory(text=text, **fields) for text in texts]  # type: ignore[arg-type]
    report = await memos.service.add(caller or memos.administrator, made, namespace)
    assert all(result.error is None for result in report.results)
    await memos.service.search(
        caller or memos.administrator,
        SearchQuery(
            query="ready", namespaces=[namespace] if namespace else None, wait_indexed=True
        ),
    )
    return [result.id or "" for result in report.results]


async def topics(
    memos: InProcess, caller: Caller | None = None, namespace: str | None = None
) -> TopicList:
    async with asyncio.timeout(60):
        while True:
            found = await memos.doorway.browsing.topics(caller or memos.administrator, namespace)
            if not found.waiting:
                return found
            await asyncio.sleep(0.01)


async def proposed(memos: InProcess, caller: Caller, namespace: str | None = None) -> str:
    """The first proposal, as soon as there is one."""
    async with asyncio.timeout(60):
        while True:
            found = await memos.doorway.organising.proposals(caller, namespace)
            if found.proposals:
                return found.proposals[0].id
            await asyncio.sleep(0.01)


def shown(found: TopicList) -> str:
    return found.model_dump_json()


async def members(
    memos: InProcess, name: str, caller: Caller | None = None, namespace: str | None = None
) -> set[str]:
    service, ids, cursor = memos.doorway.browsing, set[str](), None
    while True:
        page = await service.topic(
            caller or memos.administrator, name, namespace, cursor=cursor, limit=2
        )
        ids |= {memory.id for memory in page.memories}
        cursor = page.cursor
        if cursor is None:
            return ids


async def test_OPER_1_every_memory_is_in_one_concept_of_one_topic(memos: InProcess) -> None:
    ids = await add(memos, [*MUSIC, *GARDEN])
    found = await topics(memos)
    assert found.resident
    assert sum(topic.memories for topic in found.topics) == len(ids)
    seen: list[str] = []
    for topic in found.topics:
        assert sum(concept.memories for concept in topic.concepts) == topic.memories
        inside = await members(memos, topic.id)
        assert inside == {
            id for concept in topic.concepts for id in await members(memos, concept.id)
        }
        assert set(topic.typical) <= inside
        seen += inside
    assert sorted(seen) == sorted(ids)
    words = shown(found)
    assert "tomatoes" in words and "sunday" in words
    with pytest.raises(NotFoundError):
        await memos.doorway.browsing.topic(memos.administrator, "absent")


async def test_OPER_1_what_is_deleted_is_gone_from_topics_at_once(memos: InProcess) -> None:
    await add(memos, GARDEN)
    (secret,) = await add(memos, ["The zeppelin lands at midnight."])
    assert "zeppelin" in shown(await topics(memos))
    await memos.service.delete(memos.administrator, secret, hard=True)
    found = shown(await topics(memos))
    assert "zeppelin" not in found and secret not in found
    with pytest.raises(NotFoundError):
        await memos.doorway.browsing.topic(memos.administrator, "zeppelin")


async def test_OPER_1_topics_are_made_again_by_the_next_owner(memos: InProcess) -> None:
    await add(memos, [*MUSIC, *GARDEN])
    before = await topics(memos)
    (name,) = memos.crew.shards
    memos.crew.cut_off(name)
    await memos.crew.start_shard(name)
    await memos.supervisor.boot()
    assert await topics(memos) == before


async def pool(memos: InProcess, name: str = "pool") -> str:
    """A namespace whose members read what is shared."""
    spec = default_spec(name, NamespaceKind.CONTEXTUAL_POOL, "user:admin")
    await memos.admin.change(memos.administrator, PutNamespace(spec))
    grant = GiveGrant("user:bob", (Action.READ,), name)
    await memos.admin.change(memos.administrator, grant)
    return name


async def test_OPER_1_topics_tell_nothing_of_what_is_hidden(memos: InProcess) -> None:
    """With hidden memories and without, a reader sees the same: counts, ids, labels, groups."""
    place, bob = await pool(memos), await memos.caller("user:bob")
    await add(memos, [*MUSIC, *GARDEN], place, visibility=Visibility.SHARED)
    alone = await topics(memos, bob, place)
    assert alone.topics
    hidden = [f"The merger of guitar and zeppelin number {n} is secret." for n in range(40)]
    await add(memos, hidden, place, visibility=Visibility.PRIVATE)
    assert "zeppelin" in shown(await topics(memos, None, place))
    assert await topics(memos, bob, place) == alone
    assert await members(memos, alone.topics[0].id, bob, place)
    for name in ("zeppelin", "merger"):
        with pytest.raises(NotFoundError):
            await memos.doorway.browsing.topic(bob, name, place)
    found = await memos.service.search(
        bob,
        SearchQuery(query="guitar", namespaces=[place], filter="has(predicted.topic)", limit=99),
    )
    assert len(found.hits) == len(MUSIC) + len(GARDEN)
    names = await memos.doorway.browsing.entities(bob, place)
    assert "zeppelin" not in names.model_dump_json()


async def test_OPER_1_labels_are_made_of_readable_texts_within_one_audience(
    memos: InProcess,
) -> None:
    """Where a rule about tags hides some of a concept's members, they lend it no word."""
    spec = default_spec("pool", NamespaceKind.CONTEXTUAL_POOL, "user:admin")
    await memos.admin.change(memos.administrator, PutNamespace(spec))
    grant = GiveGrant(
        "user:bob", (Action.READ,), "pool", memories=MemoryCondition(without_tags=("secret",))
    )
    await memos.admin.change(memos.administrator, grant)
    bob = await memos.caller("user:bob")
    await add(memos, MUSIC, "pool", visibility=Visibility.SHARED)
    veiled = [f"The zeppelin concert number {number}." for number in range(8)]
    await add(memos, veiled, "pool", visibility=Visibility.SHARED, tags=["secret"])
    assert "zeppelin" in shown(await topics(memos, None, "pool"))
    found = await topics(memos, bob, "pool")
    assert sum(topic.memories for topic in found.topics) == len(MUSIC)
    assert "zeppelin" not in shown(found)


async def test_OPER_1_strangers_learn_nothing(memos: InProcess) -> None:
    (id,) = await add(memos, MUSIC[:1])
    stranger, service = await memos.caller("user:eve"), memos.doorway.browsing
    await topics(memos)
    for place in ("user:admin", "user:nobody", "absent"):
        assert (await service.topics(stranger, place)).topics == []
        assert (await service.entities(stranger, place)).entities == []
        with pytest.raises(NotFoundError):
            await service.topic(stranger, "guitar", place)
    for ask in (service.predicted, service.related):
        with pytest.raises(NotFoundError):
            await ask(stranger, id)
        with pytest.raises(NotFoundError):
            await ask(stranger, id, "user:admin")


async def test_OPER_1_predicted_tags_say_who_predicts_them_and_why(memos: InProcess) -> None:
    ids = await add(memos, MUSIC, tags=["given"])
    (sad,) = await add(memos, ["Maybe I am not happy, the exam was terrible."], role="user")
    await topics(memos)
    found = await memos.doorway.browsing.predicted(memos.administrator, sad)
    by_kind = {one.kind: one for one in found.predicted}
    assert set(by_kind) == set(Predicted)
    assert by_kind[Predicted.SENTIMENT].value == "negative"
    assert by_kind[Predicted.SOURCE].value == "user"
    assert by_kind[Predicted.CREDIBILITY].value == "medium"
    assert all(one.model.startswith("memos-") and one.reasons for one in found.predicted)
    assert all(0 <= one.confidence <= 1 for one in found.predicted)
    assert (await memos.service.get(memos.administrator, ids[0])).tags == ["given"]


async def test_OPER_1_searches_filter_on_predicted_tags(memos: InProcess) -> None:
    music, garden = await add(memos, MUSIC), await add(memos, GARDEN)
    (sad,) = await add(memos, ["A sad and terrible day."], role="assistant")
    await topics(memos)

    async def found(filter: str) -> set[str]:
        query = SearchQuery(query="", filter=filter, limit=50)
        result = await memos.service.search(memos.administrator, query)
        return {hit.memory.id for hit in result.hits}

    every = {*music, *garden, sad}
    tags = await memos.doorway.browsing.predicted(memos.administrator, music[0])
    topic = next(one.value for one in tags.predicted if one.kind is Predicted.TOPIC)
    same = await found(f'predicted.topic:"{topic}"')
    assert music[0] in same and same == await members(memos, topic)
    assert await found(f'predicted.topic != "{topic}"') == every - same
    assert await found("predicted.sentiment:negative") == {sad}
    assert await found("predicted.sentiment:negative or predicted.source:user") == every
    assert await found("predicted.source:assistant and not predicted.sentiment:positive") == {sad}
    assert await found("has(predicted.credibility)") == every
    assert await found("predicted.topic:nothing") == set()
    with pytest.raises(InvalidFilterError):
        await found("predicted.sentiment:gloomy")
    with pytest.raises(InvalidFilterError):
        await memos.service.list(memos.administrator, filter="predicted.sentiment:negative")
    with pytest.raises(InvalidFilterError):
        at = datetime.now(UTC)
        query = SearchQuery(query="day", filter="predicted.source:user", as_of=at)
        await memos.service.search(memos.administrator, query)


async def test_OPER_3_a_search_finds_its_way(memos: InProcess) -> None:
    bob = await memos.caller("user:bob")
    await add(memos, GARDEN, caller=bob)
    place = await pool(memos)
    (gig, *_) = await add(memos, MUSIC, place, visibility=Visibility.SHARED)
    await add(memos, ["The guitar of the administrator is hidden."])
    home = await memos.service.search(bob, SearchQuery(query="guitar concert"))
    assert not {hit.memory.namespace for hit in home.hits} - {"user:bob"}
    query = SearchQuery(query="guitar concert in the old hall", route=True, explain=True)
    found = await memos.service.search(bob, query)
    assert found.hits[0].memory.id == gig
    assert {hit.memory.namespace for hit in found.hits} <= {"user:bob", place}
    path = found.understood["path"]
    assert [step["namespace"] for step in path["steps"]] == [place, "user:bob"]
    assert path["steps"][0]["topics"] and path["steps"][0]["reasons"]
    plan = await memos.doorway.browsing.route(bob, RouteQuery(query=query.query))
    assert plan.model_dump(mode="json") == path
    mine = RouteQuery(query="guitar concerts among my memories")
    steps = (await memos.doorway.browsing.route(bob, mine)).steps
    assert {step.namespace for step in steps} <= {"user:bob", place}
    # What the caller states outright is not routed.
    stated = SearchQuery(query="guitar", namespaces=["user:bob"], route=True, explain=True)
    assert "path" not in (await memos.service.search(bob, stated)).understood


async def test_OPER_3_pages_of_a_routed_search_follow_one_another(memos: InProcess) -> None:
    place = await pool(memos)
    ids = await add(memos, MUSIC, place, visibility=Visibility.SHARED)
    ids += await add(memos, GARDEN)
    seen: list[str] = []
    cursor = None
    while True:
        query = SearchQuery(query="garden concert", route=True, limit=3, cursor=cursor)
        page = await memos.service.search(memos.administrator, query)
        seen += [hit.memory.id for hit in page.hits]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)


async def test_OPER_1_layers_sort_what_may_be_read_and_open_nothing(memos: InProcess) -> None:
    bob = await memos.caller("user:bob")
    place = await pool(memos)
    await memos.namespace("vault")
    found = (await memos.doorway.browsing.layers(bob)).layers
    assert found == {
        Layer.ROLE: [],
        Layer.PRIVATE: ["user:bob"],
        Layer.SHARED: [place],
        Layer.GLOBAL: [],
    }
    await add(memos, MUSIC)
    await add(memos, MUSIC, "vault")
    await add(memos, GARDEN, place)
    found_there = await memos.service.search(bob, SearchQuery(query="guitar", route=True))
    assert {hit.memory.namespace for hit in found_there.hits} == {place}


async def test_OPER_1_relations_of_a_memory_with_their_reasons(memos: InProcess) -> None:
    talk = [
        NewMemory(text=text, conversation="c", session="s", position=n, speaker="Ann")
        for n, text in enumerate(("We met Quentin.", "He sails.", "His boat sank near Malta."))
    ]
    report = await memos.service.add(memos.administrator, talk)
    met, sails, sank = (result.id or "" for result in report.results)
    (later,) = await add(
        memos,
        ["Yesterday Quentin bought another boat."],
        event_time=datetime(2030, 1, 1, tzinfo=UTC),
    )
    service = memos.doorway.browsing
    found = (await service.related(memos.administrator, sails)).related
    links = {(one.relation, one.memory.id) for one in found}
    assert (Relation.BEFORE, met) in links and (Relation.AFTER, sank) in links
    found = (await service.related(memos.administrator, sank)).related
    shares = [one for one in found if one.relation is Relation.SHARES]
    assert [one.memory.id for one in shares] == [later] and "boat" in shares[0].why
    found = (await service.related(memos.administrator, later)).related
    assert (Relation.BEFORE, met) in {(one.relation, one.memory.id) for one in found}
    names = (await service.entities(memos.administrator)).entities
    assert {(one.name, one.memories) for one in names} >= {("Ann", 3), ("quentin", 2)}


async def test_OPER_1_dependencies_are_followed_as_far_as_they_may_be_read(
    memos: InProcess,
) -> None:
    (first,) = await add(memos, ["Ann lives in Oslo."])
    (second,) = await add(memos, ["Ann moved to Berlin."])
    proposal = await proposed(memos, memos.administrator)
    await memos.doorway.organising.settle(memos.administrator, proposal, accept=True)
    browsing = memos.doorway.browsing
    found = (await browsing.related(memos.administrator, first)).related
    assert (Relation.OVERTAKEN_BY, second) in {(one.relation, one.memory.id) for one in found}
    found = (await browsing.related(memos.administrator, second)).related
    assert (Relation.OVERTAKES, first) in {(one.relation, one.memory.id) for one in found}


async def test_OPER_4_a_merge_happens_as_a_whole_or_not_at_all(memos: InProcess) -> None:
    """Who may change one of two duplicates but not the other leaves neither half merged."""
    place = await pool(memos)
    (old,) = await add(
        memos, ["The kettle is in the left cupboard."], place, visibility=Visibility.SHARED
    )
    (new,) = await add(
        memos,
        ["the kettle is in the left cupboard"],
        place,
        visibility=Visibility.SHARED,
        tags=["tea"],
    )
    grant = GiveGrant(
        "user:bob",
        (Action.READ, Action.UPDATE),
        place,
        memories=MemoryCondition(without_tags=("tea",)),
    )
    await memos.admin.change(memos.administrator, grant)
    bob = await memos.caller("user:bob")
    proposal = await proposed(memos, bob, place)
    with pytest.raises(PermissionDeniedError):
        await memos.doorway.organising.settle(bob, proposal, place, accept=True)
    for id in (old, new):
        assert (await memos.service.get(memos.administrator, id)).version == 1
    counters = (await next(iter(memos.crew.shards.values())).status()).counters
    assert counters["organise_duplicates"] == 1 and "organise_merged" not in counters


async def test_OPER_1_a_namespace_beyond_the_memory_budget_has_no_topics(tmp_path: Path) -> None:
    settings = VaultSettings(partitions=1, resident_bytes=1)
    async with in_process(tmp_path, settings=settings) as memos:
        made = await memos.service.add(memos.administrator, [NewMemory(text=MUSIC[0])])
        id = made.results[0].id or ""
        found = await memos.doorway.browsing.topics(memos.administrator)
        assert not found.resident and found.topics == []
        with pytest.raises(NotFoundError):
            await memos.doorway.browsing.topic(memos.administrator, "guitar")
        tags = await memos.doorway.browsing.predicted(memos.administrator, id)
        assert {one.kind for one in tags.predicted} == set(Predicted) - {Predicted.TOPIC}
        query = SearchQuery(query="", filter="predicted.source:user")
        with pytest.raises(InvalidFilterError):
            await memos.service.search(memos.administrator, query)


async def test_OPER_4_what_is_done_is_counted_and_told_without_content(
    memos: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ids = await add(memos, ["Ann lives in Oslo.", "Ann moved to Berlin."])
    proposal = await proposed(memos, memos.administrator)
    await memos.doorway.organising.settle(memos.administrator, proposal, accept=True)
    await topics(memos)
    await memos.service.delete(memos.administrator, ids[0], hard=True)
    await topics(memos)
    counters = Counter((await next(iter(memos.crew.shards.values())).status()).counters)
    assert counters["organise_compared"] >= 1
    assert counters["organise_supersessions"] == counters["organise_superseded"] == 1
    assert counters["topics_sorted"] == 2 and counters["topics_left"] == 1
    assert counters["topics_made"] >= 1 and counters["topics_labelled"] >= 1
    told = [record.getMessage() for record in caplog.records if "organising:" in record.msg]
    assert any("a supersession was found" in message for message in told)
    assert any("superseded, by a caller" in message for message in told)
    assert not any("Oslo" in message or "Berlin" in message for message in told)
