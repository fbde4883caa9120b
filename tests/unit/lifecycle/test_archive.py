"""VAULT-4: archive files, and moving content into, out of and between them, whatever dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.actors.lifecycle.archiving import ArchiveConsumer, Outcomes, Stubs
from memos_ray.actors.vault.transactions import Transactions
from memos_ray.adapters.archived_contents import ArchivedContents
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.payload import ArchivedRef, Plaintext
from memos_ray.core.lifecycle.archive import (
    KIND,
    ROWS_MAX,
    Contents,
    Standing,
    StoredVersion,
    bodies,
    encode,
    filled,
    in_files,
    lay_out,
)
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.sweeping import LIFECYCLE
from memos_ray.core.vault.log import ERASE, CubeKey
from memos_ray.core.vault.operations import Age, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    FencedError,
    MemosError,
    NotFoundError,
    StoreCorruptError,
    UnavailableError,
)
from memos_ray.ports import BlobStorePort, Derivation
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.cubes import key_of, make_commit, make_cube, next_version, resting, stubbed
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.heads import every_head
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.strategies import cubes

PARTITION, EPOCH, ALL = 3, 1, 10**6


class Died(BaseException):
    """The process is gone: nobody catches this."""


class Blobs:
    """Blobs in memory, of which any call may be the last."""

    def __init__(self, life: Life) -> None:
        self.held: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self._life = life

    def put(self, data: bytes) -> str:
        from hashlib import blake2b

        digest = blake2b(data, digest_size=32).hexdigest()
        self._life.step()
        self.held[digest] = data
        self._life.step()
        return digest

    def get(self, digest: str) -> bytes:
        if digest not in self.held:
            raise NotFoundError("there is no such blob", digest=digest)
        if digest in self.damaged:
            raise StoreCorruptError("a blob is not what its digest says", digest=digest)
        return self.held[digest]

    def delete(self, digest: str) -> None:
        self._life.step()
        self.held.pop(digest, None)
        self._life.step()


class Life:
    """Counts the steps of a process and ends it at one of them."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.taken = 0

    def step(self) -> None:
        self.taken += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Died


class MortalStore(MemoryRecordStore):
    """A record store whose process may die before and after each write."""

    def __init__(self, life: Life, contents: ArchivedContents) -> None:
        super().__init__(contents)
        self._life = life

    def stow(self, partition: int, epoch: int, versions: object) -> None:
        self._life.step()
        super().stow(partition, epoch, versions)  # type: ignore[arg-type]
        self._life.step()

    def save_derivation(self, partition: int, epoch: int, row: object) -> None:
        self._life.step()
        super().save_derivation(partition, epoch, row)  # type: ignore[arg-type]
        self._life.step()

    def forget_derivations(self, *call: object) -> None:
        self._life.step()
        super().forget_derivations(*call)  # type: ignore[arg-type]
        self._life.step()


class Bench:
    """A partition whose log is consumed, and whose process may die and come back."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.life = Life()
        self.blobs = Blobs(self.life)
        self.store = MortalStore(self.life, ArchivedContents(lambda: self.blobs))  # type: ignore[arg-type, return-value]
        self.store.take(PARTITION, "shard", EPOCH)
        self.executor = executor
        self.clock = ManualClock()
        self.set_aside: list[MemosError] = []

    def commit(self, *made: MemCube, erased: tuple[MemCube, ...] = ()) -> None:
        after = self.store.last_lsn(PARTITION)
        self.store.commit(
            make_commit(made, after=after, partition=PARTITION, epoch=EPOCH, erased=erased)
        )

    async def consume(self) -> None:
        """A new process follows the log, from wherever its cursor was, and tidies up."""
        consumer = self.consumer()
        await consumer.consume(self.store.events(PARTITION, 0, ALL))
        self.clock.advance(24 * 3600)
        await consumer.tidy()

    def consumer(
        self, epoch: int = EPOCH, executor: ThreadPoolExecutor | None = None
    ) -> ArchiveConsumer:
        return ArchiveConsumer(
            PARTITION,
            epoch,
            store=self.store,
            blobs=lambda: self.blobs,  # type: ignore[arg-type, return-value]
            clock=self.clock,
            executor=executor or self.executor,
            on_damaged=self.set_aside.append,
        )

    async def sweep(
        self,
        made: Sequence[MemCube],
        *,
        consumer: ArchiveConsumer | None = None,
        refused: Sequence[str] = (),
        erasures: int = 0,
    ) -> list[Written | MemosError]:
        """Archives memories as a sweep does: some move of which may be refused."""
        swept = consumer or self.consumer()
        running = Transactions(PARTITION, EPOCH, self.store, OwnerGuard(), self.clock)
        versions = self.store.bodies(PARTITION, [key_of(cube) for cube in made])

        async def move(stubs: Stubs) -> Outcomes:
            self.life.step()
            asked = [_aged(cube, stubs, expected=2 if cube.id in refused else 1) for cube in made]
            commit, outcomes = running.run(asked, self.store.last_lsn(PARTITION), True)
            self.life.step()
            swept.stowed(commit)
            return outcomes

        return await swept.put_away(versions, erasures, move)

    def stored(self, cube: MemCube) -> list[MemCube]:
        return self.store.histories(PARTITION, [key_of(cube)]).get(key_of(cube), [])

    def check(self) -> None:
        """No file is forgotten, none is missing, and nothing refers to what is not there."""
        rows = self.store.derivations(PARTITION, KIND)
        assert {row.blob for row in rows} == set(self.blobs.held)
        assert not any(Contents.from_bytes(row.body).pending for row in rows)
        heads = every_head(self.store, PARTITION)
        referred = {
            (one.payload.blob, one.payload.row)
            for head in heads
            for one in self.stored(head)
            if isinstance(one.payload, ArchivedRef)
        }
        rows_held = {
            (digest, row)
            for digest, file in self.blobs.held.items()
            for row in range(len(bodies(file)))
        }
        assert referred == rows_held


def _aged(cube: MemCube, stubs: Stubs, expected: int = 1) -> Submission:
    context = CallContext(Principal(cube.tenant, LIFECYCLE))
    age = Age(cube.id, Move.ARCHIVE, Cause.UNUSED, expected, stubs.get(key_of(cube)))
    return Submission(context, Write(cube.namespace, age))


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(1) as executor:
        yield Bench(executor)


def stub(cube: MemCube, blob: str, row: int) -> MemCube:
    return wire.from_json(stubbed(resting(cube), blob, row).body)


def movable(cube: MemCube) -> bool:
    return resting(cube).movable


def put_away(cube: MemCube) -> MemCube:
    away = replace(next_version(cube), state=State.ARCHIVED)
    return replace(away, version=replace(away.version, change=Change.ARCHIVE))


@settings(max_examples=40, deadline=None)
@given(st.lists(cubes(), min_size=1, max_size=4))
def test_VAULT_4_a_file_gives_back_what_was_put_into_it(made: list[MemCube]) -> None:
    rows = [resting(cube) for cube in made]
    file = encode(rows)
    assert encode(rows) == file
    for row, (cube, body) in enumerate(zip(made, bodies(file), strict=True)):
        assert wire.from_json(body) == cube
        if not movable(cube):
            assert not isinstance(cube.payload, Plaintext)
            continue
        kept = stub(cube, "ab" * 32, row)
        assert kept == replace(cube, payload=ArchivedRef("ab" * 32, row, cube.payload.form))
        assert filled(kept, body) == cube
        assert resting(kept).filled(body) == resting(cube)
        assert resting(kept).row_in("ab" * 32) == row and resting(kept).row_in("cd" * 32) is None
        assert not movable(kept) and stubbed(resting(cube), "ab" * 32, row) == resting(kept)


@settings(max_examples=40, deadline=None)
@given(st.lists(cubes().filter(movable), min_size=1, max_size=3, unique_by=key_of))
def test_VAULT_4_versions_that_say_the_same_share_a_row(made: list[MemCube]) -> None:
    chains = [(one, put_away(one), next_version(put_away(one), text="other")) for one in made]
    layout = lay_out(resting(version) for chain in chains for version in chain)
    file = encode(layout.rows)
    held = bodies(file)
    assert len(held) == 2 * len(made)
    versions = [version for chain in chains for version in chain]
    for cube, kept in zip(versions, layout.stubs("ab" * 32), strict=True):
        row = kept.row_in("ab" * 32)
        assert row is not None
        assert kept == stubbed(resting(cube), "ab" * 32, row)
        assert kept.filled(held[row]) == resting(cube)
        assert filled(wire.from_json(kept.body), held[row]) == cube
    # The newest one that says so is there whole.
    assert [wire.from_json(body) for body in held] == [one for _, *two in chains for one in two]


def test_VAULT_4_a_row_gives_no_version_what_it_has_not_said() -> None:
    said, other = make_cube("tea", id="a"), next_version(make_cube("tea", id="a"), text="coffee")
    for cube, row in ((said, other), (other, said)):
        with pytest.raises(StoreCorruptError):
            stubbed(resting(cube), "ab" * 32, 0).filled(resting(row).body)
        with pytest.raises(StoreCorruptError):
            filled(stub(cube, "ab" * 32, 0), resting(row).body)


def test_VAULT_4_a_text_that_looks_like_a_memory_is_moved_as_a_text() -> None:
    odd = make_cube('{"payload":{"text":"x"},"descriptive":{', tags=(',"descriptive":{',))
    kept = stub(odd, "ab" * 32, 3)
    assert kept.payload == ArchivedRef("ab" * 32, 3, odd.payload.form)
    assert resting(kept).filled(resting(odd).body) == resting(odd)


def test_VAULT_4_files_are_of_one_namespace_and_bounded() -> None:
    made = [make_cube(f"t{n}", id=f"c{n}", namespace=f"n{n % 2}") for n in range(2 * ROWS_MAX + 2)]
    files = list(in_files(map(resting, made)))
    assert sorted(len(file) for file in files) == [1, 1, ROWS_MAX, ROWS_MAX]
    assert all(len({cube.namespace for cube in file}) == 1 for file in files)
    assert sorted(c.id for file in files for c in file) == sorted(c.id for c in made)
    large = [make_cube("x" * (5 << 20), id=f"l{n}") for n in range(3)]
    assert [len(file) for file in in_files(map(resting, large))] == [1, 1, 1]


def test_VAULT_4_damaged_files_and_foreign_rows_are_refused() -> None:
    with pytest.raises(StoreCorruptError):
        bodies(b"no parquet")
    one, other = make_cube("one", id="a"), make_cube("two", id="b")
    with pytest.raises(StoreCorruptError):
        filled(stub(one, "ab" * 32, 0), bodies(encode([resting(other)]))[0])
    with pytest.raises(StoreCorruptError):
        resting(one).filled(resting(other).body)
    with pytest.raises(StoreCorruptError):
        stubbed(resting(one)._replace(body=b"[]"), "ab" * 32, 0)


def test_VAULT_4_making_and_reading_a_file_loads_no_pandas() -> None:
    code = (
        "import sys\n"
        "from memos_ray.core.lifecycle.archive import bodies, encode\n"
        "from memos_ray.testing.cubes import make_cube, resting\n"
        "row = resting(make_cube('one', id='a'))\n"
        "print(bodies(encode([row])) == [row.body], 'pandas' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "False"]


async def test_VAULT_4_content_moves_and_every_read_is_as_before(bench: Bench) -> None:
    first = make_cube("tea at four", id="a")
    second = next_version(first, text="tea at five")
    away, live = put_away(second), make_cube("in use", id="b")
    bench.commit(first, live)
    bench.commit(second)
    before = [bench.store.version(PARTITION, key_of(first), number) for number in (1, 2)]
    bench.commit(away)
    head = bench.store.heads(PARTITION, [key_of(first)])
    await bench.consume()
    assert [isinstance(one.payload, ArchivedRef) for one in bench.stored(first)] == [True] * 3
    assert [one.payload for one in bench.stored(live)] == [live.payload]
    assert bench.store.heads(PARTITION, [key_of(first)]) == head
    numbers = (1, 2)
    assert [bench.store.version(PARTITION, key_of(first), n) for n in numbers] == before
    wire.check_digest(head[key_of(first)])
    bench.check()
    # Again, it changes nothing.
    files = dict(bench.blobs.held)
    await bench.consume()
    assert bench.blobs.held == files


async def test_VAULT_4_without_the_file_nothing_pretends_to_be_content(bench: Bench) -> None:
    cube = make_cube("tea", id="a")
    bench.commit(cube)
    bench.commit(put_away(cube))
    await bench.consume()
    bench.blobs.held.clear()
    contents = ArchivedContents(lambda: bench.blobs)  # type: ignore[arg-type, return-value]
    held = bench.stored(cube)[-1]
    assert contents.fill(held) == held
    away = ArchivedContents(_unreachable)
    assert away.fill(held) == held


def _unreachable() -> BlobStorePort:
    raise UnavailableError("the blob store does not answer")


async def test_GOV_9_an_erased_memory_leaves_its_file_and_the_others_stay(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(4)]
    bench.commit(*made)
    bench.commit(*map(put_away, made))
    await bench.consume()
    before = bench.store.heads(PARTITION, [key_of(one) for one in made[1:]])
    bench.commit(erased=(made[0],))
    await bench.consume()
    bench.check()
    texts = b"".join(body for file in bench.blobs.held.values() for body in bodies(file))
    assert b"secret 0" not in texts and b"secret 1" in texts
    fresh = MemoryRecordStore.heads(bench.store, PARTITION, [key_of(one) for one in made[1:]])
    assert fresh == before
    bench.commit(erased=tuple(made[1:]))
    await bench.consume()
    assert bench.blobs.held == {}
    assert bench.store.derivations(PARTITION, KIND) == []


async def test_VAULT_4_a_file_in_which_each_version_has_its_row_is_read_and_made_anew(
    bench: Bench,
) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(2)]
    bench.commit(*made)
    bench.commit(*map(put_away, made))
    before = bench.store.heads(PARTITION, [key_of(one) for one in made])
    held = bench.store.bodies(PARTITION, [key_of(one) for one in made])
    digest = bench.blobs.put(encode(held))
    contents = replace(Contents.of(one.id for one in made), standing=Standing.DONE)
    first = held[0]
    row = Derivation(first.tenant, KIND, digest, first.namespace, digest, 1, contents.to_bytes())
    bench.store.save_derivation(PARTITION, EPOCH, row)
    stubs = [stubbed(one, digest, place) for place, one in enumerate(held)]
    bench.store.stow(PARTITION, EPOCH, stubs)
    assert bench.store.heads(PARTITION, [key_of(one) for one in made]) == before
    bench.check()
    bench.commit(erased=(made[0],))
    await bench.consume()
    bench.check()
    assert [len(bodies(file)) for file in bench.blobs.held.values()] == [1]
    chain = [bench.store.version(PARTITION, key_of(made[1]), number) for number in (1, 2)]
    for one in chain:
        assert one is not None and one.text == "secret 1"
        wire.check_digest(one)


async def story(bench: Bench, die_at: int | None, *, swept: bool) -> None:
    """Archives, then erases one and restores another; the process dies at one step."""
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(3)]
    bench.commit(*made)
    if not swept:
        bench.commit(*map(put_away, made))
    bench.life.left = die_at
    try:
        if swept:
            await bench.sweep(made)
        await bench.consume()
        bench.commit(erased=(made[0],))
        await bench.consume()
    except Died:
        bench.life.left = None
    # Whatever died: all that is there can be read.
    for head in every_head(bench.store, PARTITION):
        for one in bench.stored(head):
            kept = bench.store.version(PARTITION, key_of(head), one.version.number)
            assert kept is not None and movable(kept)
            wire.check_digest(kept)
    bench.life.left = None
    left = [head for head in every_head(bench.store, PARTITION) if head.version.number == 1]
    if left:
        await bench.consume()
        await bench.sweep(left)
    if bench.store.heads(PARTITION, [key_of(made[0])]):
        bench.commit(erased=(made[0],))
    back = bench.store.heads(PARTITION, [key_of(made[1])])[key_of(made[1])]
    bench.commit(replace(next_version(back), state=State.ACTIVATED))
    await bench.consume()
    bench.check()
    texts = b"".join(body for file in bench.blobs.held.values() for body in bodies(file))
    assert b"secret 0" not in texts
    assert {head.id: head.state for head in every_head(bench.store, PARTITION)} == {
        "c1": State.ACTIVATED,
        "c2": State.ARCHIVED,
    }
    heads = bench.store.heads(PARTITION, [CubeKey("acme", id) for id in ("c1", "c2")])
    assert sorted(head.text for head in heads.values()) == ["secret 1", "secret 2"]
    assert any(event.operation == ERASE for event in bench.store.events(PARTITION, 0, ALL))


@pytest.mark.parametrize("swept", [False, True])
async def test_VAULT_4_a_death_at_any_step_loses_nothing_and_forgets_no_file(swept: bool) -> None:
    with ThreadPoolExecutor(1) as executor:
        whole = Bench(executor)
        await story(whole, None, swept=swept)
        steps = whole.life.taken
        assert steps > 12
        for step in range(steps):
            await story(Bench(executor), step, swept=swept)


async def test_VAULT_4_what_a_sweep_archives_is_in_a_file_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(3)]
    bench.commit(*made)
    consumer = bench.consumer()
    await consumer.consume([])
    outcomes = await bench.sweep(made, consumer=consumer)
    assert all(isinstance(one, Written) for one in outcomes)
    for number, cube in enumerate(made):
        assert [movable(one) for one in bench.stored(cube)] == [False, False]
        first = bench.store.version(PARTITION, key_of(cube), 1)
        head = bench.store.heads(PARTITION, [key_of(cube)])[key_of(cube)]
        assert first is not None and first.payload == cube.payload
        assert (head.text, head.state) == (f"secret {number}", State.ARCHIVED)
        wire.check_digest(head)
    bench.check()
    # Who follows the log does not read it again.
    files, asked = dict(bench.blobs.held), list[object]()

    def noted(*call: object) -> list[StoredVersion]:
        asked.append(call)
        return []

    monkeypatch.setattr(bench.store, "bodies", noted)
    await consumer.consume(bench.store.events(PARTITION, 0, ALL))
    assert (bench.blobs.held, asked) == (files, [])


async def test_VAULT_4_who_swept_need_not_be_given_the_log_of_it(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(4)]
    bench.commit(*made)
    consumer = bench.consumer()
    await bench.sweep(made[:1], consumer=consumer)
    assert consumer.passed(4) == 4, "it has not looked for what was interrupted"
    await consumer.consume(bench.store.events(PARTITION, 0, 4))
    assert [consumer.passed(after) for after in (3, 4)] == [3, 5]
    await bench.sweep(made[1:2], consumer=consumer)
    assert consumer.passed(4) == 6, "one sweep behind the other"
    # What is about another memory has to be seen.
    bench.commit(make_cube("other", id="d"))
    await bench.sweep(made[2:], consumer=consumer)
    assert [consumer.passed(after) for after in (4, 6, 7, 9)] == [6, 6, 9, 9]
    assert consumer.passed(7) == 7, "it has been there"


async def test_VAULT_4_what_a_sweep_could_not_archive_leaves_the_file(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(3)]
    bench.commit(*made)
    outcomes = await bench.sweep(made, refused=["c1"])
    assert [isinstance(one, Written) for one in outcomes] == [True, False, True]
    assert bench.stored(made[1])[-1].text == "secret 1"
    bench.check()
    texts = b"".join(body for file in bench.blobs.held.values() for body in bodies(file))
    assert b"secret 1" not in texts and b"secret 2" in texts
    await bench.sweep([made[1]], refused=["c1"])
    bench.check()
    assert len(bench.blobs.held) == 1


async def test_VAULT_4_a_memory_that_was_made_anew_keeps_its_own_text(bench: Bench) -> None:
    old = make_cube("secret", id="a")
    bench.commit(old)
    consumer = bench.consumer()
    anew = make_cube("other", id="a")

    async def move(stubs: Stubs) -> Outcomes:
        bench.commit(erased=(old,))
        bench.commit(anew)
        running = Transactions(PARTITION, EPOCH, bench.store, OwnerGuard(), bench.clock)
        last = bench.store.last_lsn(PARTITION)
        commit, outcomes = running.run([_aged(old, stubs)], last, True)
        consumer.stowed(commit)
        return outcomes

    (done,) = await consumer.put_away(bench.store.bodies(PARTITION, [key_of(old)]), 0, move)
    assert isinstance(done, Written)
    assert [one.text for one in bench.stored(anew)] == ["other", "other"]
    assert bench.blobs.held == {}
    await consumer.consume(bench.store.events(PARTITION, 0, ALL))
    assert [movable(one) for one in bench.stored(anew)] == [False, False]
    bench.check()


async def test_GOV_9_no_file_is_written_of_what_was_read_before_an_erasure(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(2)]
    bench.commit(*made)
    consumer = bench.consumer()
    before = consumer.erasures
    bench.commit(erased=(made[0],))
    await consumer.consume(bench.store.events(PARTITION, 0, ALL))
    put = bench.blobs.put

    def never(data: bytes) -> str:
        raise AssertionError

    bench.blobs.put = never  # type: ignore[method-assign]
    await bench.sweep([made[1]], consumer=consumer, erasures=before)
    assert bench.stored(made[1])[-1].text == "secret 1"
    bench.blobs.put = put  # type: ignore[method-assign]
    await consumer.consume(bench.store.events(PARTITION, 0, ALL))
    assert not movable(bench.stored(made[1])[-1])
    bench.check()


async def test_GOV_9_an_erasure_waits_for_the_file_that_a_sweep_writes(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(3)]
    bench.commit(*made)
    consumer = bench.consumer()
    waiting: list[asyncio.Task[None]] = []
    running = Transactions(PARTITION, EPOCH, bench.store, OwnerGuard(), bench.clock)

    async def move(stubs: Stubs) -> Outcomes:
        bench.commit(erased=(made[0],))
        events = bench.store.events(PARTITION, 0, ALL)
        waiting.append(asyncio.create_task(consumer.consume(events)))
        await asyncio.sleep(0)
        # Had it not waited, it would be done before this.
        await asyncio.get_running_loop().run_in_executor(bench.executor, len, events)
        last = bench.store.last_lsn(PARTITION)
        commit, outcomes = running.run([_aged(cube, stubs) for cube in made], last, True)
        consumer.stowed(commit)
        return outcomes

    versions = bench.store.bodies(PARTITION, [key_of(cube) for cube in made])
    outcomes = await consumer.put_away(versions, 0, move)
    assert [isinstance(one, Written) for one in outcomes] == [False, True, True]
    await waiting[0]
    bench.check()
    heads = bench.store.heads(PARTITION, [key_of(cube) for cube in made])
    assert sorted(head.text for head in heads.values()) == ["secret 1", "secret 2"]
    texts = b"".join(body for file in bench.blobs.held.values() for body in bodies(file))
    assert b"secret 0" not in texts


async def test_VAULT_4_without_a_blob_store_a_sweep_archives_and_the_texts_follow(
    bench: Bench,
) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(2)]
    bench.commit(*made)
    consumer, put = bench.consumer(), bench.blobs.put
    await consumer.consume([])

    def away(data: bytes) -> str:
        raise UnavailableError("the blob store does not answer")

    bench.blobs.put = away  # type: ignore[method-assign]
    await bench.sweep(made, consumer=consumer)
    assert [bench.stored(cube)[-1].state for cube in made] == [State.ARCHIVED] * 2
    assert [movable(bench.stored(cube)[-1]) for cube in made] == [True, True]
    bench.blobs.put = put  # type: ignore[method-assign]
    await consumer.consume(bench.store.events(PARTITION, 0, ALL))
    assert [movable(bench.stored(cube)[-1]) for cube in made] == [False, False]
    bench.clock.advance(24 * 3600)
    await consumer.tidy()
    bench.check()


async def test_VAULT_4_a_sweep_that_is_given_up_settles_its_file(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(2)]
    bench.commit(*made)
    consumer = bench.consumer()
    begun, goes_on = asyncio.Event(), asyncio.Event()
    running = Transactions(PARTITION, EPOCH, bench.store, OwnerGuard(), bench.clock)

    async def move(stubs: Stubs) -> Outcomes:
        begun.set()
        await goes_on.wait()
        last = bench.store.last_lsn(PARTITION)
        commit, outcomes = running.run([_aged(cube, stubs) for cube in made], last, True)
        consumer.stowed(commit)
        return outcomes

    versions = bench.store.bodies(PARTITION, [key_of(cube) for cube in made])
    sweep = asyncio.create_task(consumer.put_away(versions, 0, move))
    await begun.wait()
    sweep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    follows = asyncio.create_task(consumer.consume(bench.store.events(PARTITION, 0, ALL)))
    goes_on.set()
    await follows
    assert [movable(bench.stored(cube)[-1]) for cube in made] == [False, False]
    bench.check()


async def test_VAULT_4_a_damaged_file_is_set_aside_and_the_others_go_on(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(3)]
    for cube in made:
        bench.commit(cube)
        bench.commit(put_away(cube))
        await bench.consume()
    files = {_file(bench, cube): cube for cube in made}
    assert len(files) == 3
    hurt, lost = _file(bench, made[0]), _file(bench, made[1])
    bench.blobs.damaged.add(hurt)
    del bench.blobs.held[lost]
    late = make_cube("late", id="late")
    bench.commit(late)
    bench.commit(erased=(make_cube("secret 0", id="c0"), make_cube("secret 2", id="c2")))
    bench.commit(put_away(late))
    await bench.consume()
    # What was erased is gone, damaged or not; what came after it is put away.
    assert hurt not in bench.blobs.held
    assert bench.store.derivations(PARTITION, KIND) == [
        row for row in bench.store.derivations(PARTITION, KIND) if row.blob != hurt
    ]
    assert bench.store.heads(PARTITION, [key_of(late)])[key_of(late)].text == "late"
    assert isinstance(bench.stored(late)[-1].payload, ArchivedRef)
    assert [error.details["digest"] for error in bench.set_aside] == [hurt]
    # Of another that is lost, it is known once somebody wants it.
    bench.commit(erased=(made[1],))
    await bench.consume()
    assert [error.details["digest"] for error in bench.set_aside] == [hurt, lost]


@pytest.mark.parametrize(
    "hurt",
    [lambda body: body[:90], lambda body: body.replace(b'"blob":', b'"blob"')],
    ids=["cut", "garbled"],
)
@pytest.mark.parametrize("number", [1, 2])
async def test_VAULT_4_GOV_9_an_erasure_takes_no_file_because_of_a_damaged_version(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, hurt: Callable[[bytes], bytes], number: int
) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(3)]
    bench.commit(*made)
    bench.commit(*map(put_away, made))
    await bench.consume()
    read = bench.store.bodies

    def damaged(*asked: Any) -> list[StoredVersion]:
        ill = "c1", number
        return [
            one._replace(body=hurt(one.body)) if (one.id, one.number) == ill else one
            for one in read(*asked)
        ]

    with monkeypatch.context() as damage:
        damage.setattr(bench.store, "bodies", damaged)
        bench.commit(erased=(made[0],))
        await bench.consume()
    assert bench.set_aside == []
    heads = bench.store.heads(PARTITION, [key_of(cube) for cube in made])
    assert {head.text for head in heads.values()} == {"secret 1", "secret 2"}
    if number == 2:
        # The file has it whole.
        bench.check()


async def test_VAULT_4_a_file_set_aside_is_taken_up_again_when_it_is_back(bench: Bench) -> None:
    made = [make_cube(f"secret {n}", id=f"c{n}") for n in range(3)]
    bench.commit(*made)
    bench.commit(*map(put_away, made))
    await bench.consume()
    (digest, file), *none = bench.blobs.held.items()
    assert none == []
    del bench.blobs.held[digest]
    bench.commit(erased=(made[0],))
    await bench.consume()
    (row,) = bench.store.derivations(PARTITION, KIND)
    assert Contents.from_bytes(row.body).standing is Standing.DAMAGED
    contents = Contents.from_bytes(row.body)
    assert contents.may_hold(["c1"]) and not contents.may_hold(["c0"])
    # Somebody has brought back a copy; what was erased meanwhile is not in the new one.
    bench.blobs.held[digest] = file
    await bench.consume()
    bench.check()
    texts = b"".join(body for file in bench.blobs.held.values() for body in bodies(file))
    assert b"secret 0" not in texts and b"secret 1" in texts


async def test_VAULT_4_a_file_that_a_lost_owner_writes_late_is_found_and_removed(
    bench: Bench,
) -> None:
    made = make_cube("secret", id="a")
    bench.commit(made)
    bench.commit(put_away(made))
    new, events = bench.consumer(EPOCH + 1), bench.store.events(PARTITION, 0, ALL)
    put = bench.blobs.put

    def late(data: bytes) -> str:
        """The partition is handed over between the record and the file."""
        bench.store.take(PARTITION, "another", EPOCH + 1)
        bench.blobs.put = put  # type: ignore[method-assign]
        asyncio.run_coroutine_threadsafe(new.consume([]), loop).result(10)
        return put(data)

    loop = asyncio.get_running_loop()
    bench.blobs.put = late  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as another:
        with pytest.raises(FencedError):
            await bench.consumer(executor=another).consume(events)
    assert len(bench.blobs.held) == 1
    await new.tidy()
    assert bench.blobs.held == {}
    assert bench.store.derivations(PARTITION, KIND) == []
    await new.consume(events)
    await new.tidy()
    assert [movable(one) for one in bench.stored(made)] == [False, False]
    bench.check()


def _file(bench: Bench, cube: MemCube) -> str:
    payload = bench.stored(cube)[-1].payload
    assert isinstance(payload, ArchivedRef)
    return payload.blob
