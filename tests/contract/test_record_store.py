"""The contract of `RecordStorePort`: what is written, whole and once, by its owner alone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.metadata import ExpiresAt, Forever, Setting, Usage
from memos_ray.core.cube.payload import ArchivedRef, Plaintext
from memos_ray.core.cube.predicate import AllOf, HasAny, Not, OneOf, Present
from memos_ray.core.vault.log import Commit, CubeKey, Outcome, Reply, UsageDelta
from memos_ray.errors import AlreadyExistsError, FencedError, InvalidInputError, StoreError
from memos_ray.ports import Among, Derivation, EventQuery, RecordStorePort, StoredVectors
from memos_ray.testing.cubes import (
    START,
    key_of,
    make_commit,
    make_cube,
    make_event,
    next_version,
    resting,
    stubbed,
)
from memos_ray.testing.record_backends import Backend, Owner
from memos_ray.testing.strategies import cubes

HALF = Plaintext("half a character: \ud800")
_lanes = itertools.count(10_000)


def make_reply(key: str, *, scope: str = "user:ann", tenant: str = "acme") -> Reply:
    return Reply(tenant, scope, key, f"digest of {key}", f"answer to {key}".encode(), START)


def make_derivation(name: str, **changes: Any) -> Derivation:
    row = Derivation("acme", "kv", name, "team", "ab" * 32, 1 << 33, b"\0{}")
    return replace(row, **changes)


def make_vectors(cube: MemCube, space: str = "space-1", body: bytes = b"\0\1\2") -> StoredVectors:
    return StoredVectors(key_of(cube), cube.version.number, space, body, "abcd")


def picture(records: RecordStorePort, partition: int) -> dict[str, Any]:
    """Everything that a partition tells of itself."""
    events = records.events(partition, 0, 10_000)
    keys = [CubeKey(event.tenant, event.cube_id or "") for event in events]
    return {
        "fence": records.fence(partition),
        "last": records.last_lsn(partition),
        "events": events,
        "heads": records.heads(partition, keys),
        "versions": {key: records.versions(partition, key, 10_000, 100) for key in keys},
        "vectors": records.vectors(partition, keys, "space-1"),
        "cursor": records.cursor(partition, "feed"),
        "made": records.derivations(partition, "kv"),
        "replies": records.replies(partition, "acme", "user:ann", ["k0", "k1", "k2"]),
        "sizes": records.namespaces(partition),
    }


class TestFencing:
    def test_a_partition_that_nobody_took_has_no_owner(
        self, records: RecordStorePort, partition: int
    ) -> None:
        fence = records.fence(partition)
        assert (fence.partition, fence.epoch, fence.owner) == (partition, 0, "")
        with pytest.raises(FencedError):
            records.commit(make_commit([make_cube()], partition=partition, epoch=0))
        assert records.last_lsn(partition) == 0

    def test_only_a_newer_epoch_takes_over(self, records: RecordStorePort, owner: Owner) -> None:
        for epoch in (-1, 0, 1):
            with pytest.raises(FencedError):
                records.take(owner.partition, "shard-1", epoch)
        assert records.fence(owner.partition).owner == "shard-0"
        records.take(owner.partition, "shard-1", 7)
        fence = records.fence(owner.partition)
        assert (fence.epoch, fence.owner) == (7, "shard-1")

    @pytest.mark.parametrize("epoch", [1, 3], ids=["stale", "from the future"])
    @pytest.mark.parametrize(
        "write",
        [
            lambda records, p, e, cube: Owner(records, p, e).commit(next_version(cube)),
            lambda records, p, e, cube: Owner(records, p, e).commit(erased=[cube]),
            lambda records, p, e, cube: records.commit(Commit(p, e)),
            lambda records, p, e, cube: records.save_vectors(p, e, [make_vectors(cube)]),
            lambda records, p, e, cube: records.advance(p, e, "feed", 1),
            lambda records, p, e, cube: records.add_usage(
                p, e, [UsageDelta(key_of(cube), 1, START)]
            ),
            lambda records, p, e, cube: records.forget_replies(p, e, START + timedelta(days=1)),
            lambda records, p, e, cube: records.save_derivation(p, e, make_derivation("b")),
            lambda records, p, e, cube: records.forget_derivations(p, e, "acme", "kv", ["a"]),
        ],
        ids=[
            "version",
            "erasure",
            "nothing",
            "vectors",
            "cursor",
            "usage",
            "replies",
            "made",
            "unmade",
        ],
    )
    def test_every_write_of_another_epoch_is_refused_and_has_no_effect(
        self,
        records: RecordStorePort,
        owner: Owner,
        epoch: int,
        write: Callable[[RecordStorePort, int, int, MemCube], object],
    ) -> None:
        cube = make_cube()
        owner.commit(cube, replies=[make_reply("k0")])
        records.save_derivation(owner.partition, 1, make_derivation("a"))
        records.take(owner.partition, "shard-1", 2)
        before = picture(records, owner.partition)
        with pytest.raises(FencedError):
            write(records, owner.partition, epoch, cube)
        assert picture(records, owner.partition) == before

    def test_one_of_many_wins_an_epoch(self, records: RecordStorePort, partition: int) -> None:
        start = threading.Barrier(4)

        def take(number: int) -> bool:
            start.wait()
            try:
                records.take(partition, f"shard-{number}", 1)
            except FencedError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(take, range(4)))
        assert won.count(True) == 1
        assert records.fence(partition).owner == f"shard-{won.index(True)}"

    def test_nothing_of_the_old_owner_follows_a_takeover(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        """The fence is judged in the transaction of the write, not before it."""
        started = threading.Event()

        def write_until_fenced() -> int:
            for count in range(100_000):
                try:
                    owner.commit(make_cube(id=f"c{count}"))
                except FencedError:
                    return count
                if count == 3:
                    started.set()
            raise AssertionError("the old owner was never fenced")

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write_until_fenced)
            started.wait()
            records.take(owner.partition, "shard-1", 2)
            last = records.last_lsn(owner.partition)
            acknowledged = writing.result()
        assert records.last_lsn(owner.partition) == last == acknowledged


class TestCommit:
    def test_what_is_committed_is_read(self, records: RecordStorePort, owner: Owner) -> None:
        one, other = make_cube("one"), make_cube("other", tenant="umbrella")
        commit = owner.commit(one, other, replies=[make_reply("k0")])
        assert records.last_lsn(owner.partition) == 2
        assert tuple(records.events(owner.partition, 0, 10)) == commit.events
        found = records.heads(owner.partition, [key_of(one), key_of(other), CubeKey("acme", "no")])
        assert found == {key_of(cube): cube for cube in commit.cubes}
        assert records.replies(owner.partition, "acme", "user:ann", ["k0", "k1"]) == {
            "k0": make_reply("k0")
        }

    def test_heads_are_given_for_any_number_of_keys(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        held = [make_cube(f"text {n}", id=f"c{n:03}") for n in range(410)]
        owner.commit(*held, make_cube(id="theirs", tenant="umbrella"))
        theirs = CubeKey("umbrella", "theirs")
        for count in (0, 1, 2, 4, 5, 17, 64, 65, 399, 400, 401, 410):
            keys = [key_of(cube) for cube in held[:count]]
            wanted = [*keys, *keys[:3], CubeKey("acme", "unknown"), theirs]
            heads = records.heads(owner.partition, wanted)
            assert heads.keys() == {*keys, theirs}
            assert [heads[key].text for key in keys] == [cube.text for cube in held[:count]]
        assert records.heads(owner.partition, []) == {}

    def test_a_group_of_writes_is_one_transaction(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        first = [make_cube(f"number {n}") for n in range(600)]
        second = [next_version(cube, text="again") for cube in first[:300]]
        commit = owner.commit(*first, *second)
        heads = records.heads(owner.partition, [key_of(cube) for cube in first])
        assert len(heads) == 600
        assert {head.version.number for head in heads.values()} == {1, 2}
        assert [event.lsn for event in records.events(owner.partition, 0, 1000)] == list(
            range(1, 901)
        )
        assert heads[key_of(first[0])] == commit.cubes[600]

    @given(cube=cubes())
    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    def test_any_cube_comes_back_as_it_was(self, records: RecordStorePort, cube: MemCube) -> None:
        owner = Owner(records, next(_lanes))
        records.take(owner.partition, "shard-0", 1)
        (placed,) = owner.commit(cube).cubes
        assert records.heads(owner.partition, [key_of(cube)]) == {key_of(cube): placed}
        past = records.version(owner.partition, key_of(cube), cube.version.number)
        assert past is not None
        assert replace(past, usage=cube.usage) == placed

    @given(cubes())
    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    def test_GOV_9_what_policies_ask_is_known_without_the_version(
        self, records: RecordStorePort, cube: MemCube
    ) -> None:
        owner = Owner(records, next(_lanes))
        records.take(owner.partition, "shard-0", 1)
        # Labels of a later version may be those of the one before it.
        (placed,) = owner.commit(replace(cube, version=replace(cube.version, number=1))).cubes
        found = records.remnants(owner.partition, [key_of(cube), CubeKey("acme", "of-nobody")])
        left = found.pop(key_of(cube))
        assert found == {}
        assert facets_of(left.cube) == facets_of(placed)
        assert left.held == cube.governance.legal_hold == left.cube.governance.legal_hold
        assert (left.cube.version, left.cube.frozen) == (placed.version, placed.frozen)

    def test_GOV_9_what_cannot_be_read_is_released_by_the_log_alone(self, owner: Owner) -> None:
        rules = replace(make_cube().governance, legal_hold=True)
        cube = replace(make_cube(), governance=rules)
        key = key_of(cube)
        (made,) = owner.commit(cube).events

        def held() -> bool | None:
            return owner.store.remnants(owner.partition, [key])[key].held

        def tell(outcome: Outcome) -> None:
            lsn = owner.store.last_lsn(owner.partition) + 1
            told = made._replace(lsn=lsn, operation="release", version=None, outcome=outcome)
            owner.store.commit(Commit(owner.partition, owner.epoch, events=(told,)))

        assert held()
        tell(Outcome.DENIED)
        assert held()
        tell(Outcome.DONE)
        assert held() is False
        # A version behind it says anew how it stands.
        owner.commit(replace(next_version(cube), governance=rules))
        assert held()

    @pytest.mark.parametrize(
        ("spoil", "error"),
        [
            (lambda c, old: replace(c, cubes=(*c.cubes, old)), AlreadyExistsError),
            (lambda c, old: replace(c, cubes=(*c.cubes, c.cubes[0])), AlreadyExistsError),
            (lambda c, old: replace(c, events=c.events[1:]), AlreadyExistsError),
            (lambda c, old: replace(c, events=(*c.events, c.events[-1])), AlreadyExistsError),
            (lambda c, old: replace(c, replies=(make_reply("k0"),)), AlreadyExistsError),
            (lambda c, old: replace(c, replies=(*c.replies, *c.replies)), AlreadyExistsError),
            (
                lambda c, old: replace(c, cubes=(*c.cubes, make_cube(tags=("nul\0",)))),
                InvalidInputError,
            ),
            (
                lambda c, old: replace(c, cubes=(*c.cubes, replace(old, id="x", payload=HALF))),
                InvalidInputError,
            ),
            (
                lambda c, old: replace(
                    c, events=(*c.events, make_event(old, 5)._replace(principal="nul\0"))
                ),
                InvalidInputError,
            ),
            (
                lambda c, old: replace(c, replies=(*c.replies, make_reply("k" * 513))),
                InvalidInputError,
            ),
        ],
        ids=[
            "a version that is there",
            "a version twice",
            "a gap in the log",
            "an entry twice",
            "a reply that is there",
            "a reply twice",
            "NUL in a column",
            "half a surrogate",
            "NUL in the log",
            "a key too long",
        ],
    )
    def test_all_or_nothing(
        self,
        records: RecordStorePort,
        owner: Owner,
        spoil: Callable[[Commit, MemCube], Commit],
        error: type[Exception],
    ) -> None:
        old = make_cube("was there before")
        owner.commit(old, make_cube(), replies=[make_reply("k0")])
        before = picture(records, owner.partition)
        good = make_commit(
            [make_cube("new"), next_version(old, text="newer")],
            after=2,
            partition=owner.partition,
            replies=[make_reply("k1")],
        )
        with pytest.raises(error):
            records.commit(spoil(good, old))
        assert picture(records, owner.partition) == before
        records.commit(good)
        assert records.last_lsn(owner.partition) == 4

    def test_what_is_too_large_for_one_backend_is_refused_by_all(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        """An index entry of PostgreSQL's holds some 2,700 bytes."""
        noise = "".join(chr(0x4E00 + (n * 7919) % 20_000) for n in range(4_000))
        owner.commit(
            make_cube(
                noise,
                owner=noise,
                tags=(noise,),
                attributes={"long": noise},
                setting=Setting(speaker=noise, session=noise),
            )
        )
        for setting in (Setting(conversation=noise), Setting(conversation="x" * 513)):
            with pytest.raises(InvalidInputError):
                owner.commit(make_cube(setting=setting))
        name = "é" * 256
        owner.commit(
            make_cube(
                id=name,
                tenant=name,
                namespace=name,
                attributes={name: 1},
                setting=Setting(conversation=name),
            )
        )
        assert records.last_lsn(owner.partition) == 2

    def test_partitions_do_not_meet(self, records: RecordStorePort, owner: Owner) -> None:
        other = Owner(records, next(_lanes))
        records.take(other.partition, "shard-0", 1)
        cube = make_cube(id="the same")
        owner.commit(cube, replies=[make_reply("k0")])
        other.commit(replace(cube, namespace="elsewhere"))
        assert records.heads(other.partition, [key_of(cube)])[key_of(cube)].namespace == "elsewhere"
        assert records.replies(other.partition, "acme", "user:ann", ["k0"]) == {}
        other.commit(erased=[cube])
        assert key_of(cube) in records.heads(owner.partition, [key_of(cube)])

    def test_an_acknowledged_commit_is_there_for_whoever_opens_the_data(
        self, backend: Backend, owner: Owner
    ) -> None:
        if backend.reopen is None:
            pytest.skip("nothing survives in memory")
        cube = make_cube()
        owner.commit(cube)
        again = backend.reopen()
        assert picture(again, owner.partition) == picture(backend.store, owner.partition)
        again.close()
        assert backend.store.check() == []


class TestDerivations:
    def test_what_is_saved_is_found_by_kind_in_order(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        kept = [make_derivation(name) for name in ("a", "b")]
        other = make_derivation("a", tenant="zoo", namespace="ns2")
        adapter = make_derivation("a", kind="adapter")
        for row in (other, kept[1], adapter, kept[0]):
            records.save_derivation(owner.partition, 1, row)
        assert records.derivations(owner.partition, "kv") == [*kept, other]
        assert records.derivations(owner.partition, "adapter") == [adapter]
        assert records.derivations(owner.partition + 1, "kv") == []

    def test_the_same_name_is_replaced(self, records: RecordStorePort, owner: Owner) -> None:
        records.save_derivation(owner.partition, 1, make_derivation("a"))
        later = make_derivation("a", blob="cd" * 32, size_bytes=0, body=b"", namespace="ns2")
        records.save_derivation(owner.partition, 1, later)
        assert records.derivations(owner.partition, "kv") == [later]

    def test_only_what_is_named_is_forgotten(self, records: RecordStorePort, owner: Owner) -> None:
        mine = [make_derivation(f"n{n}") for n in range(1200)]
        for row in (*mine[:3], make_derivation("n0", tenant="zoo")):
            records.save_derivation(owner.partition, 1, row)
        names = [row.name for row in mine[1:]]
        records.forget_derivations(owner.partition, 1, "acme", "kv", names)
        records.forget_derivations(owner.partition, 1, "acme", "adapter", ["n0"])
        records.forget_derivations(owner.partition, 1, "acme", "kv", [])
        left = records.derivations(owner.partition, "kv")
        assert [(row.tenant, row.name) for row in left] == [("acme", "n0"), ("zoo", "n0")]

    def test_they_are_found_by_tenant_namespace_and_name(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        mine = [make_derivation(f"n{n:04}", namespace=f"ns{n % 2}") for n in range(1200)]
        other = make_derivation("n0001", tenant="zoo", namespace="ns1")
        records.save_derivations(owner.partition, 1, [other, *mine])

        def found(**among: Any) -> list[Derivation]:
            return records.derivations(owner.partition, "kv", Among(**among))

        assert found(tenant="acme") == mine
        assert found(tenant="zoo", namespace="ns1") == [other]
        assert found(tenant="acme", namespace="ns1") == mine[1::2]
        assert found(tenant="acme", names=()) == found(tenant="nobody") == []
        every_third = tuple(row.name for row in reversed(mine[::3]))
        assert found(tenant="acme", names=(*every_third, "absent")) == mine[::3]
        assert found(tenant="acme", namespace="ns0", names=every_third) == mine[::6]

    def test_several_are_saved_or_none(self, records: RecordStorePort, owner: Owner) -> None:
        records.save_derivations(owner.partition, 1, [])
        bad = replace(make_derivation("b"), name="b\0")
        with pytest.raises(InvalidInputError):
            records.save_derivations(owner.partition, 1, [make_derivation("a"), bad])
        assert records.derivations(owner.partition, "kv") == []

    def test_names_that_cannot_be_stored_are_refused(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        for name in ("name", "tenant", "kind", "namespace", "blob"):
            with pytest.raises(InvalidInputError):
                row = replace(make_derivation("a"), **{name: "a\0b"})  # type: ignore[arg-type]
                records.save_derivation(owner.partition, 1, row)
        assert records.derivations(owner.partition, "kv") == []


class TestErasure:
    def test_nothing_is_left_but_the_log(self, backend: Backend, owner: Owner) -> None:
        records, secret = backend.store, "walrus"
        cube = make_cube(
            f"the {secret} paper", tags=(f"{secret}-tag",), attributes={f"{secret}-name": secret}
        )
        kept = make_cube("unconcerned")
        second = next_version(cube, text=f"the second {secret} paper")
        owner.commit(cube, kept, second, replies=[make_reply("k0")])
        rows = [
            replace(make_vectors(one, body=secret.encode()), sketch=secret)
            for one in (cube, second)
        ]
        records.save_vectors(owner.partition, 1, rows)
        owner.commit(erased=[cube])
        key = key_of(cube)
        assert key not in records.heads(owner.partition, [key])
        assert records.versions(owner.partition, key, 100, 100) == []
        assert records.version(owner.partition, key, 1) is None
        assert records.vectors(owner.partition, [key], "space-1") == {}
        assert [e.operation for e in records.events(owner.partition, 0, 10)] == [
            "create",
            "create",
            "overwrite",
            "erase",
        ]
        for table in ("cube", "version", "label", "vector", "event", "reply"):
            for row in backend.rows(owner.partition, table):
                assert secret not in repr(row), table
                assert table in ("event", "reply") or cube.id not in row
        assert key_of(kept) in records.heads(owner.partition, [key_of(kept)])

    def test_an_id_can_be_given_anew(self, records: RecordStorePort, owner: Owner) -> None:
        old = make_cube("old", id="x", tags=("old",))
        owner.commit(old, next_version(old))
        owner.commit(make_cube("new", id="x"), erased=[old])
        (head,) = records.heads(owner.partition, [key_of(old)]).values()
        assert (head.text, head.version.number, head.descriptive.tags) == ("new", 1, ())
        assert len(records.versions(owner.partition, key_of(old), 100, 100)) == 1

    def test_what_is_not_there_can_be_erased(self, records: RecordStorePort, owner: Owner) -> None:
        owner.commit(erased=[make_cube()])
        assert records.last_lsn(owner.partition) == 1


class TestVersions:
    def test_each_is_kept_as_it_was(self, records: RecordStorePort, owner: Owner) -> None:
        chain = [make_cube("version 1", tags=("first",))]
        for number in range(2, 7):
            chain.append(next_version(chain[-1], text=f"version {number}", tags=()))
        chain.append(next_version(chain[-1], state=State.DELETED))
        placed = [owner.commit(cube).cubes[0] for cube in chain]
        key = key_of(chain[0])
        assert [records.version(owner.partition, key, n) for n in range(1, 8)] == placed
        assert records.version(owner.partition, key, 8) is None
        infos = [cube.version for cube in reversed(placed)]
        assert records.versions(owner.partition, key, 100, 100) == infos
        assert records.versions(owner.partition, key, 7, 2) == infos[1:3]
        assert records.heads(owner.partition, [key])[key] == placed[-1]

    def test_usage_belongs_to_the_memory_not_to_a_version(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        cube = make_cube()
        owner.commit(cube)
        records.add_usage(owner.partition, 1, [UsageDelta(key_of(cube), 3, START)])
        owner.commit(replace(next_version(cube, text="new"), usage=Usage(access_count=99)))
        head = records.heads(owner.partition, [key_of(cube)])[key_of(cube)]
        assert (head.text, head.usage.access_count) == ("new", 3)


class TestUsage:
    def test_batches_add_up_and_the_unknown_are_skipped(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        cube, key = make_cube(), CubeKey("acme", "unknown")
        owner.commit(cube)
        later = START + timedelta(days=7)
        records.add_usage(
            owner.partition,
            1,
            [
                UsageDelta(key_of(cube), 4, START, 1, 0.5, ("t1",), ("a1",)),
                UsageDelta(key, 1, START),
                UsageDelta(key_of(cube), 1, START),
            ],
        )
        records.add_usage(
            owner.partition, 1, [UsageDelta(key_of(cube), 1, later, 2, -0.25, ("t2",), ("a2",))]
        )
        assert records.heads(owner.partition, [key_of(cube), key]) == {
            key_of(cube): replace(
                records.heads(owner.partition, [key_of(cube)])[key_of(cube)],
                usage=Usage(6, later, 3.5, 3, 0.25, ("t2", "t1"), ("a2", "a1")),
            )
        }


class TestReplies:
    def test_each_caller_has_its_own(self, records: RecordStorePort, owner: Owner) -> None:
        mine = [make_reply(f"k{n}") for n in range(500)]
        others = [make_reply("k0", scope="user:bob"), make_reply("k0", tenant="umbrella")]
        owner.commit(replies=[*mine, *others])
        wanted = [f"k{n}" for n in range(600)]
        assert records.replies(owner.partition, "acme", "user:ann", wanted) == {
            reply.key: reply for reply in mine
        }
        assert list(records.replies(owner.partition, "acme", "user:bob", wanted).values()) == [
            others[0]
        ]

    def test_old_ones_are_forgotten(self, records: RecordStorePort, owner: Owner) -> None:
        old, new = make_reply("old"), replace(make_reply("new"), at=START + timedelta(seconds=1))
        owner.commit(replies=[old, new])
        assert records.forget_replies(owner.partition, 1, new.at) == 1
        assert records.replies(owner.partition, "acme", "user:ann", ["old", "new"]) == {"new": new}
        owner.commit(replies=[old])


class TestLog:
    def test_cursors_stand_where_they_were_put(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        assert records.cursor(owner.partition, "feed") == 0
        records.advance(owner.partition, 1, "feed", 5)
        records.advance(owner.partition, 1, "other", 9)
        records.advance(owner.partition, 1, "feed", 0)
        assert records.cursor(owner.partition, "feed") == 0
        assert records.cursor(owner.partition, "other") == 9

    def test_entries_that_are_alike_keep_what_is_their_own(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        commit = make_commit([make_cube() for _ in range(150)], partition=owner.partition)
        events = list(commit.events)
        events[3] = events[3]._replace(version=None, purpose="care")
        events[70] = events[70]._replace(outcome=Outcome.DENIED, detail={"code": "hidden"})
        events[149] = events[149]._replace(role="clerk", request_id="r-1")
        records.commit(replace(commit, events=tuple(events)))
        assert records.events(owner.partition, 0, 200) == events
        # Only their places tell these apart, and they come in another number.
        same = [events[9]._replace(lsn=151 + place) for place in range(128)]
        records.commit(Commit(owner.partition, owner.epoch, events=tuple(same)))
        assert records.events(owner.partition, 150, 200) == same

    def test_pages_join(self, records: RecordStorePort, owner: Owner) -> None:
        owner.commit(*(make_cube() for _ in range(7)))
        lsns: list[int] = []
        while page := records.events(owner.partition, lsns[-1] if lsns else 0, 3):
            lsns += [event.lsn for event in page]
        assert lsns == list(range(1, 8))
        assert records.events(owner.partition, -5, 2) == records.events(owner.partition, 0, 2)

    @given(
        query=st.builds(
            EventQuery,
            tenant=st.none() | st.sampled_from(("acme", "umbrella")),
            namespace=st.none() | st.sampled_from(("notes", "diary")),
            principal=st.none() | st.sampled_from(("user:ann", "user:bob")),
            operation=st.none() | st.sampled_from(("create", "erase", "nul\1")),
            cube_id=st.none() | st.sampled_from(("c0", "c1", "c2")),
            request_id=st.none() | st.sampled_from(("", "r-1")),
            since=st.none() | st.integers(0, 4).map(lambda s: START + timedelta(seconds=s)),
            until=st.none() | st.integers(0, 4).map(lambda s: START + timedelta(seconds=s)),
        )
    )
    @settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_query_restricts_by_what_it_names(
        self, records: RecordStorePort, query: EventQuery
    ) -> None:
        written = [
            make_event(
                make_cube(id=f"c{n % 3}", at=START + timedelta(seconds=n % 4)), n + 1
            )._replace(
                tenant=("acme", "umbrella")[n % 2],
                namespace=("notes", "diary")[n // 2 % 2],
                principal=("user:ann", "user:bob")[n // 3 % 2],
                operation=("create", "erase")[n // 5 % 2],
                request_id=("", "r-1")[n // 4 % 2],
                detail={"n": n, "ratio": 0.5, "flag": True, "none": None, "text": "größe"},
            )
            for n in range(24)
        ]
        if records.fence(1).epoch == 0:
            records.take(1, "shard-0", 1)
            records.commit(Commit(1, 1, events=tuple(written)))
            records.add_accesses(1, written)
        names = ("tenant", "namespace", "principal", "operation", "cube_id", "request_id")
        expected = [
            event
            for event in written
            if all(getattr(query, name) in (None, getattr(event, name)) for name in names)
            and (query.since is None or event.at >= query.since)
            and (query.until is None or event.at < query.until)
        ]
        assert records.events(1, 0, 100, query) == expected
        assert records.accesses(1, 0, 100, query) == expected
        assert records.events(1, 6, 2, query) == [e for e in expected if e.lsn > 6][:2]

    def test_accesses_are_numbered_by_themselves_without_gaps(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        def add(thread: int) -> None:
            for n in range(5):
                entries = [make_event(make_cube(id=f"{thread}-{n}-{i}"), 0) for i in range(3)]
                records.add_accesses(owner.partition, entries)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(4)))
        records.add_accesses(owner.partition, [])
        found = records.accesses(owner.partition, 0, 100)
        assert [access.lsn for access in found] == list(range(1, 61))
        assert len({access.cube_id for access in found}) == 60
        groups = [
            tuple((a.cube_id or "").rpartition("-")[0] for a in found[i : i + 3])
            for i in range(0, 60, 3)
        ]
        assert all(len(set(group)) == 1 for group in groups)
        assert records.last_lsn(owner.partition) == 0


def test_a_closed_store_refuses(backend: Backend) -> None:
    if backend.reopen is None:
        pytest.skip("closing is the end of a store in memory")
    again = backend.reopen()
    again.close()
    with pytest.raises(StoreError):
        again.fence(1)


class TestMoves:
    """LIFE-1: versions that are committed as no more than another state."""

    def test_LIFE_1_a_move_reads_as_any_other_version(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        until = ExpiresAt(START + timedelta(days=1))
        first = make_cube("one", id="a", tags=("t",), lifespan=until)
        other = make_cube("two", id="b", tenant="zeta")
        owner.commit(first, other)
        owner.commit_moves(
            next_version(first, state=State.ARCHIVED, change=Change.ARCHIVE),
            next_version(other, state=State.DELETED, change=Change.DELETE),
        )
        keys = [key_of(first), key_of(other)]
        heads = records.heads(owner.partition, keys)
        assert [heads[key].state for key in keys] == [State.ARCHIVED, State.DELETED]
        assert [heads[key].version.lsn for key in keys] == [3, 4]
        chain = records.histories(owner.partition, keys)[key_of(first)]
        assert chain[1] == heads[key_of(first)]
        (newest, oldest) = records.versions(owner.partition, key_of(first), 10, 10)
        assert (newest, oldest) == (chain[1].version, chain[0].version)
        put_away = AllOf((OneOf("state", ("archived",)), HasAny("tags", ("t",))))
        found = records.scan(owner.partition, "acme", "notes", put_away, None, 10)
        assert found == [heads[key_of(first)]]
        assert records.size(owner.partition, "zeta", "notes").cubes == 0

    def test_LIFE_1_many_moves_at_once_reach_each_its_own_memory(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        until = ExpiresAt(START + timedelta(days=1))
        many = [make_cube("one", id=f"m-{place:03}") for place in range(405)]
        left, ends = make_cube("left", id="m-left"), make_cube("ends", id="ends", lifespan=until)
        other = make_cube("two", id="m-000", tenant="zeta")
        twice = make_cube("three", id="twice")
        owner.commit(*many, left, ends, other, twice)
        twice = next_version(twice, text="four")
        owner.commit(twice)
        moved = [
            *(next_version(one, state=State.ARCHIVED, change=Change.ARCHIVE) for one in many),
            next_version(ends, state=State.ARCHIVED, change=Change.ARCHIVE),
            next_version(other, state=State.DELETED, change=Change.DELETE),
            next_version(twice, state=State.ARCHIVED, change=Change.ARCHIVE),
        ]
        owner.commit_moves(*moved)
        heads = records.heads(owner.partition, [key_of(one) for one in (*moved, left)])
        after = {key: (head.version.number, head.state) for key, head in heads.items()}
        expected = {key_of(one): (one.version.number, one.state) for one in (*moved, left)}
        assert after == expected
        away = AllOf((OneOf("state", ("archived",)), Not(Present("expires_at"))))
        found = records.scan(owner.partition, "acme", "notes", away, None, 500)
        assert {cube.id for cube in found} == {"twice", *(one.id for one in many)}

    def test_LIFE_1_a_move_may_end_a_lifespan(self, records: RecordStorePort, owner: Owner) -> None:
        until = ExpiresAt(START + timedelta(days=1))
        first = make_cube("one", id="a", state=State.EXPIRED, lifespan=until)
        owner.commit(first)
        back = next_version(first, state=State.ACTIVATED, change=Change.RESTORE)
        rules = replace(back.governance, lifespan=Forever())
        owner.commit_moves(replace(back, governance=rules))
        for found in (1, 0):
            ends = Present("expires_at") if not found else Not(Present("expires_at"))
            assert len(records.scan(owner.partition, "acme", "notes", ends, None, 9)) == found

    def test_LIFE_1_a_move_keeps_usage_and_sketch(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        cube = make_cube("one", id="a")
        owner.commit(cube)
        records.save_vectors(owner.partition, owner.epoch, [make_vectors(cube)])
        records.add_usage(owner.partition, owner.epoch, [UsageDelta(key_of(cube), 3, START)])
        (rests,) = records.resting(owner.partition, [key_of(cube), CubeKey("acme", "nobody")])
        assert (rests.key, rests.sketch) == (key_of(cube), "abcd")
        assert decode(rests.body).text == "one"
        (head,) = records.heads(owner.partition, [key_of(cube)]).values()
        owner.commit_moves(next_version(head, state=State.ARCHIVED, change=Change.ARCHIVE))
        (moved,) = records.heads(owner.partition, [key_of(cube)]).values()
        assert moved.usage.access_count == 3
        assert moved.fingerprint == head.fingerprint

    def test_LIFE_1_a_move_is_fenced_and_made_once(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        cube = make_cube("one", id="a")
        owner.commit(cube)
        moved = next_version(cube, state=State.ARCHIVED, change=Change.ARCHIVE)
        with pytest.raises(FencedError):
            replace(owner, epoch=owner.epoch + 1).commit_moves(moved)
        owner.commit_moves(moved)
        with pytest.raises(AlreadyExistsError):
            owner.commit_moves(moved)
        assert records.last_lsn(owner.partition) == 2
        assert len(records.bodies(owner.partition, [key_of(cube)])) == 2


class TestArchived:
    """VAULT-4: versions whose content is elsewhere."""

    def test_VAULT_4_every_version_is_told_as_stored(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        first, other = make_cube("one", id="a"), make_cube("two", id="b", tenant="zeta")
        second = next_version(first, text="more")
        owner.commit(first, other)
        owner.commit(second)
        keys = [key_of(first), key_of(other), CubeKey("acme", "nobody")]
        found = records.histories(owner.partition, keys)
        texts = {key.id: [cube.text for cube in chain] for key, chain in found.items()}
        assert texts == {"a": ["one", "more"], "b": ["two"]}
        assert [c.version.lsn for c in found[key_of(first)]] == [1, 3]

    def test_VAULT_4_what_only_moves_is_found_by_its_tags_as_before(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        def moved(cube: MemCube, **changes: Any) -> MemCube:
            after = replace(next_version(cube, **changes), state=State.ARCHIVED)
            return replace(after, version=replace(after.version, change=Change.ARCHIVE))

        def tagged(tag: str) -> list[str]:
            wanted = HasAny("tags", (tag,))
            found = records.scan(owner.partition, "acme", "notes", wanted, None, 10)
            return sorted(cube.id for cube in found)

        kept, changed = make_cube(id="a", tags=("old",)), make_cube(id="b", tags=("old",))
        owner.commit(kept, changed)
        updated = next_version(changed)
        updated = replace(updated, descriptive=replace(updated.descriptive, tags=("new",)))
        owner.commit(moved(kept), updated, moved(updated))
        # The first version that a branch has of a memory may be no more than a move, either.
        owner.commit(moved(replace(make_cube(id="a#trial", tags=("old",)))))
        assert (tagged("old"), tagged("new")) == (["a", "a#trial"], ["b"])
        heads = records.heads(owner.partition, [key_of(kept), key_of(changed)])
        assert {head.state for head in heads.values()} == {State.ARCHIVED}

    def test_VAULT_4_versions_are_given_as_they_rest(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        first, other = make_cube("one", id="a"), make_cube("two", id="b", tenant="zeta")
        second = replace(next_version(first, text="more"), state=State.ARCHIVED)
        owner.commit(first, other)
        owner.commit(second)
        keys = [key_of(other), key_of(first), CubeKey("acme", "nobody")]
        found = records.bodies(owner.partition, keys)
        assert sorted((one.id, one.number) for one in found) == [("a", 1), ("a", 2), ("b", 1)]
        held = {(CubeKey(one.tenant, one.id), one.number): one for one in found}
        for cube in (first, second, other):
            one = held[key_of(cube), cube.version.number]
            assert (one.namespace, one.digest) == (cube.namespace, cube.version.digest)
            assert decode(one.body, lsn=cube.version.lsn) == cube
        away = records.bodies(owner.partition, keys, State.ARCHIVED)
        assert [(one.id, one.number) for one in away] == [("a", 1), ("a", 2)]

    def test_VAULT_4_a_stowed_version_says_the_same_but_for_its_content(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        first = make_cube("one", id="a", tags=("t",))
        owner.commit(first)
        owner.commit(next_version(first, text="more"))
        (old, new) = records.histories(owner.partition, [key_of(first)])[key_of(first)]
        kept = stubbed(resting(old), "ab" * 32, 7)
        wrong = stubbed(resting(new)._replace(digest="00"), "cd" * 32, 1)
        absent = stubbed(resting(make_cube("x", id="nobody")), "ef" * 32, 1)
        records.stow(owner.partition, owner.epoch, [kept, wrong, absent])
        expected = replace(old, payload=ArchivedRef("ab" * 32, 7, old.payload.form))
        chain = records.histories(owner.partition, [key_of(first)])[key_of(first)]
        assert chain == [expected, new]
        assert records.heads(owner.partition, [key_of(first)])[key_of(first)].text == "more"
        infos = records.versions(owner.partition, key_of(first), 10, 10)
        assert [info.digest for info in infos] == [new.version.digest, old.version.digest]

    def test_VAULT_4_a_memory_is_archived_and_its_content_stowed_at_once(
        self, records: RecordStorePort, owner: Owner
    ) -> None:
        made = [make_cube(text, id=text) for text in ("one", "two")]
        owner.commit(*made)
        away = [
            replace(
                next_version(cube, state=State.ARCHIVED, change=Change.ARCHIVE),
                payload=ArchivedRef("ab" * 32, row, cube.payload.form),
            )
            for row, cube in enumerate(made)
        ]
        stubs = [stubbed(resting(cube), "ab" * 32, row) for row, cube in enumerate(made)]
        with pytest.raises(FencedError):
            replace(owner, epoch=owner.epoch + 1).commit_moves(*away, stowed=stubs)
        wrong = stubs[1]._replace(digest="00")
        owner.commit_moves(*away, stowed=[stubs[0], wrong])
        chains = records.histories(owner.partition, [key_of(cube) for cube in made])
        kinds = {key.id: [type(one.payload) for one in chain] for key, chain in chains.items()}
        assert kinds == {"one": [ArchivedRef, ArchivedRef], "two": [Plaintext, ArchivedRef]}
        assert [one.version.digest for one in chains[key_of(made[0])]] == [
            made[0].version.digest,
            away[0].version.digest,
        ]
        heads = records.heads(owner.partition, [key_of(cube) for cube in made])
        assert {head.state for head in heads.values()} == {State.ARCHIVED}
        again = next_version(away[0], state=State.ARCHIVED, change=Change.ARCHIVE)
        with pytest.raises(AlreadyExistsError):
            # None of it happens, or all of it.
            owner.commit_moves(again, away[1], stowed=[stubs[1]])
        chain = records.histories(owner.partition, [key_of(made[1])])[key_of(made[1])]
        assert [type(one.payload) for one in chain] == [Plaintext, ArchivedRef]

    def test_VAULT_4_only_the_owner_stows(self, records: RecordStorePort, owner: Owner) -> None:
        cube = make_cube("one", id="a")
        owner.commit(cube)
        with pytest.raises(FencedError):
            records.stow(owner.partition, owner.epoch + 1, [stubbed(resting(cube), "ab" * 32, 0)])
        (kept,) = records.histories(owner.partition, [key_of(cube)])[key_of(cube)]
        assert kept.text == "one"
