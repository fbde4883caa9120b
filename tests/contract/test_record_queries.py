"""The contract of `RecordStorePort`: what is read, by which conditions and in which order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.facets import facets_of, to_micros
from memos_ray.core.cube.metadata import Decay, ExpiresAt, Forever, Lifespan, Setting
from memos_ray.core.cube.payload import ParameterRef
from memos_ray.core.cube.predicate import (
    AllOf,
    Between,
    Everything,
    HasAny,
    Not,
    OneOf,
    Predicate,
    Present,
    evaluate,
)
from memos_ray.core.lifecycle.sweeping import Sieve, SweepRules
from memos_ray.core.vault.entries import STATES_ONLY
from memos_ray.core.vault.log import CubeKey, UsageDelta
from memos_ray.ports import NamespaceSize, RecordStorePort, Sifted, StoredVectors
from memos_ray.testing.cubes import START, key_of, make_cube, next_version
from memos_ray.testing.heads import every_head
from memos_ray.testing.record_backends import Owner
from memos_ray.testing.strategies import cubes, predicates, similar_cubes

_namespaces = itertools.count()
_QUICK = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def scan(
    records: RecordStorePort,
    partition: int,
    predicate: Predicate | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 10_000,
    *,
    tenant: str = "acme",
    namespace: str = "notes",
) -> list[MemCube]:
    return records.scan(partition, tenant, namespace, predicate or Everything(), after, limit)


def ids(found: Sequence[MemCube]) -> list[str]:
    return [cube.id for cube in found]


def make_vectors(cube: MemCube, space: str = "space-1", body: bytes = b"\0\1\2") -> StoredVectors:
    sketch = body.hex()
    return StoredVectors(key_of(cube), cube.version.number, space, body, sketch)


class TestScan:
    def test_newest_come_first_and_equal_times_are_ordered_by_code_point(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        names = ["a", "B", "b", "ä", "z", "Z", "-", "_", "é", "😀", "日", "\ue000", "10", "9"]
        owner.commit(*(make_cube(id=name) for name in names))
        owner.commit(make_cube(id="newer", at=START + timedelta(microseconds=1)))
        owner.commit(make_cube(id="older", at=START - timedelta(days=400_000)))
        expected = ["newer", *sorted(names, reverse=True), "older"]
        assert ids(scan(records, owner.partition)) == expected

    def test_pages_join_without_gap_or_repetition(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        owner.commit(
            *(make_cube(id=f"c{n}", at=START + timedelta(seconds=n // 4)) for n in range(23))
        )
        found: list[MemCube] = []
        after = None
        while page := scan(records, owner.partition, after=after, limit=5):
            found += page
            after = to_micros(page[-1].descriptive.created_at), page[-1].id
        assert found == scan(records, owner.partition)
        assert len(set(ids(found))) == 23

    def test_tenants_and_namespaces_do_not_meet(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        owner.commit(
            make_cube(id="mine"),
            make_cube(id="theirs", tenant="umbrella"),
            make_cube(id="elsewhere", namespace="diary"),
        )
        assert ids(scan(records, owner.partition)) == ["mine"]
        assert ids(scan(records, owner.partition, tenant="umbrella")) == ["theirs"]
        assert ids(scan(records, owner.partition, namespace="diary")) == ["elsewhere"]
        assert scan(records, owner.partition, tenant="umbrella", namespace="diary") == []

    def test_it_sees_heads_only(self, records: RecordStorePort, owner: Owner) -> None:
        cube = make_cube(tags=("old",), attributes={"size": 1})
        owner.commit(cube)
        owner.commit(replace(next_version(cube, tags=("new",)), state=State.DELETED))
        assert scan(records, owner.partition, HasAny("tags", ("old",))) == []
        (head,) = scan(records, owner.partition, OneOf("state", ("deleted",)))
        assert head.version.number == 2

    def test_common_and_rare_conditions_find_alike(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        """A condition that few meet is looked up, one that many meet is not."""
        rare = {7, 500, 2_050}
        held = [
            make_cube(
                id=f"c{n:04}",
                tags=("common", "rare") if n in rare else ("common",),
                attributes={"parity": n % 2},
                setting=Setting(conversation="long", position=n),
            )
            for n in range(2_100)
        ]
        owner.commit(*held)
        odd = OneOf("attributes.parity", (1,))
        for predicate in (
            HasAny("tags", ("common",)),
            HasAny("tags", ("rare",)),
            AllOf((HasAny("tags", ("common",)), HasAny("tags", ("rare",)), odd)),
            AllOf((OneOf("conversation", ("long",)), Between("position", 1_995, 2_005))),
            OneOf("conversation", ("none",)),
        ):
            expected = [c.id for c in reversed(held) if evaluate(predicate, facets_of(c))]
            assert ids(scan(records, owner.partition, predicate)) == expected
            assert ids(scan(records, owner.partition, predicate, limit=3)) == expected[:3]

    @given(
        held=st.lists(similar_cubes(), min_size=5, max_size=10),
        asked=st.lists(predicates, min_size=20, max_size=30),
    )
    @_QUICK
    def test_a_predicate_means_the_same_as_in_memory(
        self, database: RecordStorePort, held: list[MemCube], asked: list[Predicate]
    ) -> None:
        self._agree(database, held, [*asked, *(Not(predicate) for predicate in asked)])

    @given(held=st.lists(cubes(), min_size=2, max_size=5), data=st.data())
    @_QUICK
    def test_any_cube_is_found_by_its_own_facets(
        self, database: RecordStorePort, held: list[MemCube], data: st.DataObject
    ) -> None:
        asked: list[Predicate] = []
        for cube in held:
            for name, value in facets_of(cube).items():
                if isinstance(value, tuple):
                    asked.append(HasAny(name, value))
                elif isinstance(value, str | bool):
                    asked.append(OneOf(name, (value,)))
                else:
                    asked += [OneOf(name, (value,)), Between(name, value, None)]
                    asked.append(Between(name, None, value))
                asked.append(Present(name))
        self._agree(database, held, data.draw(st.lists(st.sampled_from(asked), max_size=30)))

    @staticmethod
    def _agree(
        records: RecordStorePort, held: Sequence[MemCube], asked: Sequence[Predicate]
    ) -> None:
        """Puts cubes into a namespace of their own and compares each predicate with `evaluate`."""
        if records.fence(1).epoch == 0:
            records.take(1, "shard-0", 1)
        namespace = f"agreement-{next(_namespaces)}"
        placed = {
            f"{namespace}-{n}": replace(
                _with_content(cube), id=f"{namespace}-{n}", tenant="acme", namespace=namespace
            )
            for n, cube in enumerate(held)
        }
        Owner(records, 1).commit(*placed.values())
        for predicate in asked:
            expected = {
                name for name, cube in placed.items() if evaluate(predicate, facets_of(cube))
            }
            found = scan(records, 1, predicate, namespace=namespace)
            assert set(ids(found)) == expected, predicate


def _with_content(cube: MemCube) -> MemCube:
    """What is only in another state follows a version that says the same; these have none."""
    if cube.version.change not in STATES_ONLY:
        return cube
    return replace(cube, version=replace(cube.version, change=Change.MERGE))


class TestVectors:
    def test_the_newest_that_there_are(self, records: RecordStorePort, owner: Owner) -> None:
        first, bare = make_cube(), make_cube()
        second = next_version(first, text="second")
        third = next_version(second, text="third")
        owner.commit(first, second, third, bare)
        saved = [make_vectors(first, body=b"1"), make_vectors(second, body=b"2")]
        records.save_vectors(owner.partition, 1, [*saved, make_vectors(third, "space-2", b"other")])
        keys = [key_of(first), key_of(bare), CubeKey("acme", "unknown")]
        assert records.vectors(owner.partition, keys, "space-1") == {key_of(first): saved[1]}
        again = make_vectors(second, body=b"better")
        records.save_vectors(owner.partition, 1, [again])
        assert records.vectors(owner.partition, keys, "space-1") == {key_of(first): again}
        assert records.vectors(owner.partition, keys, "space-3") == {}

    def test_those_of_versions_that_are_not_there_are_dropped(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        cube, gone = make_cube(), make_cube()
        owner.commit(cube, gone)
        owner.commit(erased=[gone])
        late = [make_vectors(next_version(cube)), make_vectors(gone)]
        records.save_vectors(owner.partition, 1, late)
        assert records.vectors(owner.partition, [key_of(cube), key_of(gone)], "space-1") == {}
        assert records.heads(owner.partition, [key_of(gone)]) == {}

    def test_the_sketch_is_of_the_head(self, records: RecordStorePort, owner: Owner) -> None:
        first = make_cube()
        second = next_version(first)
        owner.commit(first, second)
        records.save_vectors(owner.partition, 1, [make_vectors(first, body=b"\1")])
        head = records.heads(owner.partition, [key_of(first)])[key_of(first)]
        assert head.fingerprint.sketch is None
        records.save_vectors(owner.partition, 1, [make_vectors(second, body=b"\2")])
        head = records.heads(owner.partition, [key_of(first)])[key_of(first)]
        assert head.fingerprint.sketch == "02"


class TestLoad:
    def test_a_namespace_comes_whole_with_the_vectors_of_one_space(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        held = [make_cube(id=f"c{n}", at=START + timedelta(seconds=n // 3)) for n in range(300)]
        owner.commit(*held, make_cube(namespace="diary"), make_cube(tenant="umbrella"))
        owner.commit(next_version(held[0], state=State.DELETED))
        vectors = [make_vectors(cube, body=cube.id.encode()) for cube in held[::2]]
        records.save_vectors(owner.partition, 1, vectors)
        records.save_vectors(owner.partition, 1, [make_vectors(held[1], "space-2")])
        rows = list(records.load(owner.partition, "acme", "notes", "space-1"))
        expected = sorted(held, key=lambda cube: (cube.descriptive.created_at, cube.id))
        assert [cube.id for cube, _ in rows] == ids(expected)
        assert [v for _, v in rows if v is not None] == [
            make_vectors(cube, body=cube.id.encode()) for cube in expected if cube in held[::2]
        ]
        (other,) = [v for _, v in records.load(owner.partition, "acme", "notes", "space-2") if v]
        assert other.key.id == "c1"
        assert {cube.id: cube.version.number for cube, _ in rows}["c0"] == 2

    def test_keys_come_in_any_number(self, records: RecordStorePort, owner: Owner) -> None:
        held = [make_cube(tenant=("acme", "umbrella")[n % 2]) for n in range(1_000)]
        owner.commit(*held)
        keys = [key_of(cube) for cube in held]
        assert set(records.heads(owner.partition, keys)) == set(keys)
        assert records.heads(owner.partition, []) == {}


class TestAsOf:
    def test_each_moment_has_its_versions_and_their_vectors(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        one, other = make_cube("one, first"), make_cube("other", at=START + timedelta(seconds=5))
        two = next_version(one, text="one, second", at=START + timedelta(seconds=10))
        gone = next_version(two, state=State.DELETED, at=START + timedelta(seconds=20))
        back = next_version(gone, state=State.ACTIVATED, at=START + timedelta(seconds=30))
        owner.commit(one, other, two, gone, back)
        records.save_vectors(owner.partition, 1, [make_vectors(one, body=b"1")])
        records.save_vectors(owner.partition, 1, [make_vectors(back, body=b"4")])
        records.save_vectors(owner.partition, 1, [make_vectors(two, "space-2", b"another")])

        def texts(seconds: float) -> list[tuple[str, bytes | None]]:
            rows = records.as_of(
                owner.partition, "acme", "notes", START + timedelta(seconds=seconds), "space-1"
            )
            return [(cube.text, None if v is None else v.body) for cube, v in rows]

        assert texts(-1) == []
        assert texts(0) == [("one, first", b"1")]
        assert texts(5) == [("one, first", b"1"), ("other", None)]
        assert texts(10) == [("one, second", b"1"), ("other", None)]
        assert texts(20) == [("other", None)]
        assert texts(30) == [("one, second", b"4"), ("other", None)]

    def test_a_long_past_comes_whole(self, records: RecordStorePort, owner: Owner) -> None:
        held = [make_cube(f"number {n}") for n in range(300)]
        owner.commit(*held)
        owner.commit(*(next_version(cube, text="today") for cube in held))
        rows = records.as_of(owner.partition, "acme", "notes", START, "space-1")
        assert {cube.text for cube, _ in rows} == {f"number {n}" for n in range(300)}

    def test_what_was_erased_is_not_in_the_past(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        cube = make_cube()
        owner.commit(cube)
        owner.commit(erased=[cube])
        assert list(records.as_of(owner.partition, "acme", "notes", START, "space-1")) == []


class TestSizes:
    def test_deleted_memories_do_not_count(self, records: RecordStorePort, owner: Owner) -> None:
        kept, gone = make_cube("größe"), make_cube("deleted")
        only = make_cube("deleted as well", namespace="diary")
        owner.commit(kept, gone, only, make_cube("x", tenant="umbrella"))
        owner.commit(*(next_version(cube, state=State.DELETED) for cube in (gone, only)))
        assert records.size(owner.partition, "acme", "notes") == NamespaceSize(
            "acme", "notes", 1, len("größe".encode())
        )
        assert records.size(owner.partition, "acme", "no such") == NamespaceSize(
            "acme", "no such", 0, 0
        )
        assert records.namespaces(owner.partition) == [
            NamespaceSize("acme", "diary", 0, 0),
            NamespaceSize("acme", "notes", 1, 7),
            NamespaceSize("umbrella", "notes", 1, 1),
        ]


def test_LIFE_2_heads_are_sifted_by_tenant_and_id(records: RecordStorePort, owner: Owner) -> None:
    partition = owner.partition
    made = [
        make_cube(f"{tenant} {name}", id=name, tenant=tenant, lifespan=Decay(9.0))
        for tenant in ("b", "a", "Z")
        for name in ("2", "10", "é")
    ]
    owner.commit(*made)
    changed = replace(next_version(made[0], text="newer"), state=State.DELETED)
    owner.commit(changed)
    expected = sorted((cube.tenant, cube.id) for cube in made)
    sieve = Sieve.of(SweepRules(deleted_s=9.0), START + timedelta(days=1))
    whole = records.sift(partition, None, 100, 100, sieve)
    assert [(cube.tenant, cube.id) for cube in whole.cubes] == expected
    assert next(c for c in whole.cubes if key_of(c) == key_of(changed)).text == "newer"
    found: list[tuple[str, str]] = []
    after = None
    while (page := records.sift(partition, after, 2, 2, sieve)).seen:
        found += [(cube.tenant, cube.id) for cube in page.cubes]
        after = page.last
        assert found[-1:] == [(after.tenant, after.id)] if after else False
    assert found == expected


def test_LIFE_2_a_sieve_holds_back_what_is_not_due(records: RecordStorePort, owner: Owner) -> None:
    """Every backend lets pass what the sieve itself says, page by page."""
    rules = SweepRules(unused_s=50.0, deleted_s=20.0, expired_s=40.0)
    soon, late = (ExpiresAt(START + timedelta(seconds=at)) for at in (30, 90))
    adapter = ParameterRef("ab" * 32, "tiny", 8, 100)
    lifespans: list[Lifespan] = [Forever(), soon, late, Decay(9.0)]
    made = [
        make_cube(f"{number}", state=state, lifespan=lifespan, frozen=frozen, payload=payload)
        for number, (state, lifespan, frozen, payload) in enumerate(
            product(State, lifespans, (False, True), (None, adapter))
        )
    ]
    owner.commit(*made)
    records.add_usage(
        owner.partition,
        owner.epoch,
        [UsageDelta(key_of(cube), 1, START + timedelta(seconds=45)) for cube in made[::3]],
    )
    stored = every_head(records, owner.partition)
    for seconds in (10, 25, 45, 60, 100):
        sieve = Sieve.of(rules, START + timedelta(seconds=seconds))
        found: list[MemCube] = []
        after, seen = None, 0
        while (page := records.sift(owner.partition, after, 7, 3, sieve)).seen:
            assert page.seen <= 7 and len(page.cubes) <= 3
            found += page.cubes
            after, seen = page.last, seen + page.seen
        assert seen == len(made)
        assert found == [cube for cube in stored if sieve.passes(cube)]
    assert records.sift(owner.partition + 1, None, 7, 7, sieve) == Sifted(0, None, [])
    never = Sieve.of(SweepRules(cold_heat=0.0), START)
    assert records.sift(owner.partition, None, 1000, 1000, never).cubes == []


def test_LIFE_2_what_decays_is_read_when_it_may_be_cold(
    records: RecordStorePort, owner: Owner
) -> None:
    lives = {"hour": 3600.0, "day": 86_400.0, "blink": 0.001, "ages": 1e308, "instant": 5e-324}
    made = [make_cube(id=name, lifespan=Decay(life)) for name, life in lives.items()]
    owner.commit(*made, make_cube(id="forever"))
    owner.commit(replace(next_version(made[1], text="anew"), state=State.ARCHIVED))
    read_at = START + timedelta(hours=2)
    records.add_usage(owner.partition, owner.epoch, [UsageDelta(key_of(made[0]), 1, read_at)])

    def passing(hours: float, cold_heat: float = 0.25) -> list[str]:
        sieve = Sieve.of(SweepRules(cold_heat), START + timedelta(hours=hours))
        return [cube.id for cube in records.sift(owner.partition, None, 9, 9, sieve).cubes]

    brief = ["blink", "instant"]
    assert passing(3.9) == brief
    assert passing(4.0) == ["blink", "hour", "instant"]
    assert passing(4.0, cold_heat=0.05) == brief
    assert passing(0.0, cold_heat=2.0) == ["ages", "blink", "hour", "instant"]
    # No half-life is too long or too short to be multiplied, by whatever the operator has chosen.
    for cold_heat in (5e-324, 1e-9, 1.0 - 1e-12, 1.0):
        assert "instant" in passing(3.9, cold_heat)
    # A version says anew when it was made and how long it lasts; so does a restoration.
    lasting = replace(made[2].governance, lifespan=Forever())
    owner.commit(replace(next_version(made[2]), governance=lasting))
    assert passing(3.9) == ["instant"]
