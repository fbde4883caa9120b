"""The contract of `VectorStorePort`, on Milvus Lite and on a Milvus server."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos_ray.adapters.milvus import MilvusSettings, MilvusVectorStore, open_vector_store
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.predicate import (
    AllOf,
    AnyOf,
    Between,
    Everything,
    HasAny,
    Not,
    Nothing,
    OneOf,
    Predicate,
    Present,
    evaluate,
)
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import (
    DimensionMismatchError,
    InvalidInputError,
    VectorStoreError,
)
from memos_ray.ports import VectorStorePort
from memos_ray.testing.cubes import make_cube
from memos_ray.testing.milvus_server import MilvusServer, MilvusUnavailableError
from memos_ray.testing.strategies import cubes, predicates, similar_cubes
from memos_ray.testing.vectors import make_record, make_space, random_vectors

SPACE = make_space(8, "contract")
PATIENT = MilvusSettings(connect_s=30.0, search_s=30.0)
_partitions = itertools.count(10)
_namespaces = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    try:
        running = MilvusServer(tmp_path_factory.mktemp("milvus"))
        running.start()
    except MilvusUnavailableError as error:
        pytest.skip(f"no Milvus server here: {error}")
    yield running
    running.kill()


@pytest.fixture(scope="module", params=["lite", "server"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MilvusVectorStore]:
    if request.param == "server":
        uri = request.getfixturevalue("server").uri
    else:
        uri = str(tmp_path_factory.mktemp("lite") / "vectors")
    opened = open_vector_store(uri, PATIENT)
    opened.prepare(SPACE)
    yield opened
    opened.close()


@pytest.fixture
def partition() -> int:
    """A partition that no other test uses."""
    return next(_partitions)


def search(
    store: VectorStorePort,
    partition: int,
    vector: Sequence[float],
    predicate: Predicate | None = None,
    *,
    tenant: str = "acme",
    namespace: str = "notes",
    limit: int = 10,
) -> list[tuple[str, float]]:
    return store.search(
        SPACE,
        partition,
        tenant,
        namespace,
        predicate or Everything(),
        np.asarray(vector, dtype=np.float32),
        limit,
    )


def ids(hits: Sequence[tuple[str, float]]) -> list[str]:
    return [cube_id for cube_id, _ in hits]


E0, E1 = np.eye(8, dtype=np.float32)[:2]


def test_nearest_records_come_first_with_their_cosine(
    store: VectorStorePort, partition: int
) -> None:
    near, far, against = make_cube(id="near"), make_cube(id="far"), make_cube(id="against")
    store.upsert(
        SPACE,
        [
            make_record(against, -E0, partition),
            make_record(near, 3 * E0 + E1, partition),
            make_record(far, E1, partition),
        ],
    )
    hits = search(store, partition, E0)
    assert ids(hits) == ["near", "far", "against"]
    assert [score for _, score in hits] == pytest.approx([3 / np.sqrt(10), 0, -1], abs=1e-5)
    assert ids(search(store, partition, E0, limit=1)) == ["near"]


def test_equal_scores_are_ordered_by_id(store: VectorStorePort, partition: int) -> None:
    store.upsert(SPACE, [make_record(make_cube(id=i), E0, partition) for i in ("b", "a", "c")])
    assert ids(search(store, partition, E0)) == ["a", "b", "c"]


def test_upsert_replaces_vector_and_all_facets(store: VectorStorePort, partition: int) -> None:
    old = make_cube(id="x", tags=("red",), attributes={"size": 1}, priority=3)
    store.upsert(SPACE, [make_record(old, E0, partition)])
    store.upsert(SPACE, [make_record(make_cube(id="x", owner="user:bob"), E1, partition)])
    assert store.count(SPACE, partition) == 1
    assert search(store, partition, E1) == [("x", pytest.approx(1.0))]
    for gone in (HasAny("tags", ("red",)), Present("attributes.size"), OneOf("priority", (3,))):
        assert search(store, partition, E1, gone) == []
    assert search(store, partition, E1, OneOf("owner", ("user:bob",))) != []


def test_the_later_of_two_records_of_one_call_counts(
    store: VectorStorePort, partition: int
) -> None:
    first, second = make_cube(id="x", tags=("one",)), make_cube(id="x", tags=("two",))
    store.upsert(SPACE, [make_record(first, E0, partition), make_record(second, E0, partition)])
    assert store.count(SPACE, partition) == 1
    assert search(store, partition, E0, HasAny("tags", ("one",))) == []
    assert ids(search(store, partition, E0, HasAny("tags", ("two",)))) == ["x"]


def test_tenants_namespaces_and_partitions_do_not_see_each_other(
    store: VectorStorePort, partition: int
) -> None:
    other = next(_partitions)
    homes = [
        ("acme", "notes", partition),
        ("acme", "work", partition),
        ("bits", "notes", partition),
    ]
    homes.append(("acme", "notes", other))
    for tenant, namespace, home in homes:
        cube = make_cube(id="same", tenant=tenant, namespace=namespace, owner=f"{tenant}{home}")
        store.upsert(SPACE, [make_record(cube, E0, home)])
    # Two names, one key: the namespace is not part of it, so the later one has taken the place.
    assert search(store, partition, E0) == []
    assert ids(search(store, partition, E0, namespace="work")) == ["same"]
    assert ids(search(store, partition, E0, tenant="bits")) == ["same"]
    assert ids(search(store, other, E0)) == ["same"]
    assert search(store, partition, E0, tenant="notes", namespace="acme") == []
    assert (store.count(SPACE, partition), store.count(SPACE, other)) == (2, 1)


def test_delete_removes_and_ignores_absent_records(store: VectorStorePort, partition: int) -> None:
    other = next(_partitions)
    records = [make_record(make_cube(id=f"c{i}"), E0, partition) for i in range(4)]
    store.upsert(SPACE, [*records, make_record(make_cube(id="c0"), E0, other)])
    store.delete(SPACE, partition, [records[0].key, records[1].key, CubeKey("acme", "nobody")])
    assert ids(search(store, partition, E0)) == ["c2", "c3"]
    assert store.count(SPACE, partition) == 2
    assert ids(search(store, other, E0)) == ["c0"]
    store.delete(SPACE, next(_partitions), [records[0].key])
    store.delete(SPACE, partition, [])


def test_a_deleted_record_can_come_back(store: VectorStorePort, partition: int) -> None:
    record = make_record(make_cube(id="x"), E0, partition)
    store.upsert(SPACE, [record])
    store.delete(SPACE, partition, [record.key])
    assert search(store, partition, E0) == []
    store.upsert(SPACE, [record])
    assert ids(search(store, partition, E0)) == ["x"]


def test_drop_empties_one_partition_and_completes_it(
    store: MilvusVectorStore, partition: int
) -> None:
    other = next(_partitions)
    assert store.needs_rebuild(SPACE, partition)
    for home in (partition, other):
        store.upsert(SPACE, [make_record(make_cube(id="x"), E0, home)])
    assert store.needs_rebuild(SPACE, partition)
    store.drop(SPACE, partition)
    assert (store.count(SPACE, partition), store.count(SPACE, other)) == (0, 1)
    assert search(store, partition, E0) == []
    assert not store.needs_rebuild(SPACE, partition)
    store.upsert(SPACE, [make_record(make_cube(id="y"), E0, partition)])
    assert ids(search(store, partition, E0)) == ["y"]
    assert not store.needs_rebuild(SPACE, partition)


def test_empty_partitions_answer(store: VectorStorePort, partition: int) -> None:
    assert store.count(SPACE, partition) == 0
    assert search(store, partition, E0) == []
    store.upsert(SPACE, [])
    store.drop(SPACE, partition)


def test_prepare_is_idempotent_and_refuses_another_dimension(store: VectorStorePort) -> None:
    store.prepare(SPACE)
    with pytest.raises(DimensionMismatchError):
        store.prepare(replace(SPACE, dim=SPACE.dim + 1))


@pytest.mark.parametrize("length", [0, 7, 9])
def test_vectors_of_another_length_are_refused(
    store: VectorStorePort, partition: int, length: int
) -> None:
    with pytest.raises(DimensionMismatchError):
        store.upsert(SPACE, [make_record(make_cube(), np.ones(length, np.float32), partition)])
    with pytest.raises(DimensionMismatchError):
        search(store, partition, np.ones(length).tolist())


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(
    store: VectorStorePort, partition: int, number: float
) -> None:
    bad = [*np.ones(7), number]
    good = make_record(make_cube(), E0, partition)
    with pytest.raises(InvalidInputError):
        store.upsert(SPACE, [good, make_record(make_cube(), bad, partition)])
    with pytest.raises(InvalidInputError):
        search(store, partition, bad)
    assert store.count(SPACE, partition) == 0


def test_vectors_without_a_direction_are_counted_but_not_found(
    store: VectorStorePort, partition: int
) -> None:
    store.upsert(
        SPACE,
        [
            make_record(make_cube(id="zero"), np.zeros(8, np.float32), partition),
            make_record(make_cube(id="one"), E0, partition),
        ],
    )
    assert store.count(SPACE, partition) == 2
    assert ids(search(store, partition, E0)) == ["one"]
    assert search(store, partition, np.zeros(8).tolist()) == []


def test_limits_are_checked(store: VectorStorePort, partition: int) -> None:
    store.upsert(SPACE, [make_record(make_cube(), E0, partition)])
    assert search(store, partition, E0, limit=0) == []
    assert search(store, partition, E0, limit=-1) == []
    assert len(search(store, partition, E0, limit=16_384)) == 1
    with pytest.raises(InvalidInputError):
        search(store, partition, E0, limit=16_385)


@pytest.mark.parametrize(
    "facets",
    [
        {"tags": tuple(map(str, range(5_000)))},
        {"attributes.text": "x" * 70_000},
        {"priority": 2**63},
        {"owner": 7},
        {"priority": True},
        {"tags": "red"},
    ],
    ids=lambda facets: next(iter(facets)),
)
def test_facets_that_do_not_fit_are_refused_before_anything_is_written(
    store: VectorStorePort, partition: int, facets: dict[str, str]
) -> None:
    good = make_record(make_cube(), E0, partition)
    with pytest.raises(InvalidInputError):
        store.upsert(SPACE, [good, replace(good, key=CubeKey("acme", "bad"), facets=facets)])
    assert store.count(SPACE, partition) == 0


def test_batches_of_any_size_arrive_whole(store: VectorStorePort, partition: int) -> None:
    vectors = random_vectors(1_300)
    records = [make_record(make_cube(id=f"c{i}"), v, partition) for i, v in enumerate(vectors)]
    store.upsert(SPACE, records)
    assert store.count(SPACE, partition) == 1_300
    assert ids(search(store, partition, vectors[77].tolist(), limit=1)) == ["c77"]
    store.delete(SPACE, partition, [record.key for record in records[:900]])
    assert store.count(SPACE, partition) == 400


def test_a_rare_filter_still_finds_the_nearest(store: VectorStorePort, partition: int) -> None:
    vectors = random_vectors(1_500, seed=3)
    rare = [i % 100 == 0 for i in range(len(vectors))]
    store.upsert(
        SPACE,
        [
            make_record(make_cube(id=f"c{i:04}", tags=("rare",) if rare[i] else ()), v, partition)
            for i, v in enumerate(vectors)
        ],
    )
    for query in random_vectors(5, seed=4):
        expected = sorted((-float(v @ query), f"c{i:04}") for i, v in enumerate(vectors) if rare[i])
        hits = search(store, partition, query.tolist(), HasAny("tags", ("rare",)), limit=10)
        assert ids(hits) == [cube_id for _, cube_id in expected[:10]]


def test_filters_that_the_engine_cannot_decide_are_exact_all_the_same(
    store: VectorStorePort, partition: int
) -> None:
    """Floats cannot tell neighbours beyond 2**53 apart; many wrong candidates are nearer."""
    edge = 2**60
    vectors = random_vectors(400, seed=5)
    store.upsert(
        SPACE,
        [
            make_record(
                make_cube(id=f"c{i:03}", attributes={"n": edge if i % 40 == 39 else edge - 1}),
                vector,
                partition,
            )
            for i, vector in enumerate(vectors)
        ],
    )
    predicate = Between("attributes.n", edge, None)
    query = vectors[0]
    expected = sorted((-float(vectors[i] @ query), f"c{i:03}") for i in range(39, 400, 40))
    for limit in (3, 20):
        hits = search(store, partition, query.tolist(), predicate, limit=limit)
        assert ids(hits) == [cube_id for _, cube_id in expected[:limit]]
        assert [s for _, s in hits] == pytest.approx([-s for s, _ in expected[:limit]], abs=1e-5)


def test_concurrent_callers_lose_nothing(store: VectorStorePort) -> None:
    homes = [next(_partitions) for _ in range(4)]

    def fill(home: int) -> None:
        for start in range(0, 120, 30):
            records = [
                make_record(make_cube(id=f"c{i}"), E0, home) for i in range(start, start + 30)
            ]
            store.upsert(SPACE, records)
            assert len(search(store, home, E0, limit=200)) == start + 30

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, homes))
    assert [store.count(SPACE, home) for home in homes] == [120] * 4


def _few(examples: int) -> settings:
    """Each example costs a write that must become visible; it asks much of it instead."""
    return settings(
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def _agree(store: VectorStorePort, held: Sequence[MemCube], asked: Sequence[Predicate]) -> None:
    """Puts cubes into a namespace of their own and compares each predicate with `evaluate`."""
    namespace = f"agreement-{next(_namespaces)}"
    cubes_by_id = {cube.id: replace(cube, tenant="acme", namespace=namespace) for cube in held}
    records = [make_record(cube, E0, 1) for cube in cubes_by_id.values()]
    store.upsert(SPACE, records)
    for predicate in asked:
        expected = {r.key.id for r in records if evaluate(predicate, r.facets)}
        found = search(store, 1, E0, predicate, namespace=namespace, limit=100)
        assert set(ids(found)) == expected, predicate


@given(
    st.lists(similar_cubes(), min_size=5, max_size=10),
    st.lists(predicates, min_size=20, max_size=30),
)
@_few(8)
def test_predicates_mean_the_same_as_in_memory(
    store: MilvusVectorStore, held: list[MemCube], asked: list[Predicate]
) -> None:
    _agree(store, held, [*asked, *(Not(predicate) for predicate in asked)])


@given(st.lists(cubes(), min_size=2, max_size=5), st.data())
@_few(8)
def test_any_cube_can_be_stored_and_found_by_its_own_facets(
    store: MilvusVectorStore, held: list[MemCube], data: st.DataObject
) -> None:
    asked: list[Predicate] = [Everything(), Nothing()]
    for cube in held:
        facets = make_record(cube, E0, 1).facets
        name, value = data.draw(st.sampled_from(sorted(facets.items(), key=lambda item: item[0])))
        asked.append(Present(name))
        asked.append(HasAny(name, value) if isinstance(value, tuple) else OneOf(name, (value,)))
        if isinstance(value, int | float) and not isinstance(value, bool):
            asked.append(Between(name, value, None))
            asked.append(Not(Between(name, None, value)))
    _agree(store, held, asked)


HOSTILE = (
    '" or 1 == 1 or "',
    "' or '' == '",
    '"] or f_owner != "',
    '") or not (f_owner == "',
    "\\",
    '\\"',
    "{p0}",
    "{}",
    "%",
    "_",
    "|.|",
    "#0",
    "=",
    "\0",
    "\n",
    "\u2028",
    "\ud800",
    "a" * 300,
    "/* */ --",
)


def _assert_harmless(store: VectorStorePort, words: Sequence[str]) -> None:
    base = make_cube()
    held = [
        replace(
            base,
            id=f"c{i}",
            governance=replace(base.governance, owner=word, readers=(word,)),
            descriptive=replace(base.descriptive, attributes={word: word}),
        )
        for i, word in enumerate(words)
    ]
    asked: list[Predicate] = []
    for word in words:
        asked += [
            AllOf((Not(OneOf("owner", (word, "nobody"))), Not(HasAny("readers", (words[0],))))),
            HasAny("readers", (word,)),
            OneOf(f"attributes.{word}", (word, 1)),
            Between(f"attributes.{word}", 0, 1),
        ]
    _agree(store, held, asked)


def test_hostile_texts_do_not_leave_their_literal(store: VectorStorePort) -> None:
    _assert_harmless(store, HOSTILE)


@given(st.lists(st.text(max_size=12), min_size=8, max_size=12, unique=True))
@_few(4)
def test_no_text_leaves_its_literal(store: MilvusVectorStore, words: list[str]) -> None:
    _assert_harmless(store, words)


def test_hostile_tenants_namespaces_and_ids(store: VectorStorePort, partition: int) -> None:
    for hostile in ('" or 1 == 1 or "', "\ud800", "a\0b", "{p0}", "x" * 400):
        cube = make_cube(id=hostile, tenant=hostile, namespace=hostile)
        store.upsert(SPACE, [make_record(cube, E0, partition)])
        found = search(store, partition, E0, tenant=hostile, namespace=hostile)
        assert ids(found) == [hostile]
        store.delete(SPACE, partition, [CubeKey(hostile, hostile)])
    assert store.count(SPACE, partition) == 0


def test_predicates_may_nest_deeply(store: VectorStorePort, partition: int) -> None:
    deep: Predicate = OneOf("priority", (1, 2))
    for level in range(100):
        inner = AnyOf((OneOf("owner", (f"user:{level}",)), deep))
        deep = Not(AllOf((inner, Not(Present("speaker")))))
    held = [make_cube(id=f"c{i}", priority=i, owner=f"user:{i % 3}") for i in range(6)]
    records = [make_record(cube, E0, partition) for cube in held]
    store.upsert(SPACE, records)
    for predicate in (deep, Not(deep)):
        expected = [r.key.id for r in records if evaluate(predicate, r.facets)]
        assert ids(search(store, partition, E0, predicate)) == expected


def test_several_shards_may_prepare_at_once(server: MilvusServer) -> None:
    space = make_space(4, "prepared at once")
    stores = [open_vector_store(server.uri, PATIENT) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda one: one.prepare(space), stores))
    for home, one in enumerate(stores):
        one.upsert(space, [make_record(make_cube(id="x"), np.ones(4, np.float32), home)])
        assert one.count(space, home) == 1
    for one in stores:
        one.close()


def test_a_closed_store_refuses(tmp_path_factory: pytest.TempPathFactory) -> None:
    closed = open_vector_store(str(tmp_path_factory.mktemp("closed") / "vectors"))
    closed.close()
    closed.close()
    record = make_record(make_cube(), E0, 1)
    calls = (
        lambda: closed.prepare(SPACE),
        lambda: closed.upsert(SPACE, [record]),
        lambda: closed.delete(SPACE, 1, [record.key]),
        lambda: search(closed, 1, E0),
        lambda: closed.count(SPACE, 1),
        lambda: closed.drop(SPACE, 1),
        lambda: closed.needs_rebuild(SPACE, 1),
    )
    for call in calls:
        with pytest.raises(VectorStoreError):
            call()


def test_copies_in_two_places_are_told_apart(tmp_path: Path) -> None:
    stores = [open_vector_store(str(tmp_path / name / "vectors"), PATIENT) for name in ("a", "b")]
    homes = [store.home for store in stores]
    assert homes[0] != homes[1]
    for store in stores:
        store.close()
    again = open_vector_store(str(tmp_path / "a" / "vectors"), PATIENT)
    assert again.home == homes[0]
    again.close()


def test_the_name_of_a_server_shows_no_address() -> None:
    store = open_vector_store("http://root:secret@127.0.0.1:9", MilvusSettings(connect_s=0.1))
    assert not {"root", "secret", "127"} & set(re.findall(r"\w+", store.home))
    store.close()


def test_a_deletion_reaches_every_embedding_space(store: VectorStorePort, partition: int) -> None:
    """Records of a model that is no longer used are not forgotten there."""
    older = make_space(4, "older")
    cube, kept = make_cube(id="gone"), make_cube(id="kept")
    store.prepare(older)
    store.upsert(older, [make_record(one, E0[:4], partition) for one in (cube, kept)])
    store.upsert(SPACE, [make_record(one, E0, partition) for one in (cube, kept)])
    store.delete(SPACE, partition, [CubeKey("acme", "gone")])
    assert ids(search(store, partition, E0)) == ["kept"]

    def left() -> list[str]:
        found = store.search(older, partition, "acme", "notes", Everything(), E0[:4], 10)
        return [cube_id for cube_id, _ in found]

    # Nobody searches there, so no search is made to wait for the deletion.
    deadline = time.monotonic() + 60
    while left() != ["kept"]:
        assert time.monotonic() < deadline, "it was not deleted"
        time.sleep(0.05)
