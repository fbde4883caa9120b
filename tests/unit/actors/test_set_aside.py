"""VAULT-5: one bad entry of a log stops no feed; it is set aside, counted, and tried again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from memos_ray.actors import feed as feeds
from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.feed import LogFeed
from memos_ray.actors.set_aside import KIND
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.vault.log import ERASE, CubeKey, Event
from memos_ray.errors import InvalidInputError, MemosError, StoreCorruptError, UnavailableError
from memos_ray.ports import Derivation
from memos_ray.testing.cubes import make_commit, make_cube
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.waiting import eventually

BAD = "secret-3"
KEY = CubeKey("acme", BAD)


class Picky:
    """Takes every entry but those about some memories."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.taken: list[str] = []
        self.lost = False

    async def consume(self, events: Sequence[Event]) -> None:
        """Fails on a bad one, wherever it stands."""
        for event in events:
            if event.cube_id == BAD and self.error is not None:
                raise self.error
        self.taken += [event.cube_id or "" for event in events]

    async def outdated(self) -> bool:
        """Once, if so told."""
        lost, self.lost = self.lost, False
        return lost

    async def reset(self) -> None:
        """Forgets."""
        self.taken.clear()


class Bench:
    """A log of six entries, and whoever follows it."""

    def __init__(self) -> None:
        self.store = MemoryRecordStore()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.store.take(0, "one", 1)
        for n in range(6):
            cube = make_cube("tea", id=f"secret-{n}")
            self.store.commit(make_commit([cube], after=n, partition=0, epoch=1))

    @asynccontextmanager
    async def following(
        self, consumer: Picky, passed: Callable[[int], int] | None = None
    ) -> AsyncIterator[LogFeed]:
        def failed(name: str, error: MemosError) -> None:
            self.counts[name, error.code] += 1

        with ThreadPoolExecutor(1) as executor:
            feed = LogFeed(
                "picky",
                0,
                1,
                cursor="picky:x",
                store=self.store,
                executor=executor,
                consumer=consumer,
                ceiling=lambda: None,
                passed=passed,
                courtesy=Courtesy(lambda: False),
                on_fenced=lambda _: None,
                on_error=failed,
            )
            try:
                yield feed
            finally:
                await feed.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_RETRY_MIN_S", 0.001)


@pytest.mark.parametrize(
    "error", [StoreCorruptError("it is damaged"), InvalidInputError("no"), KeyError("a defect")]
)
async def test_VAULT_5_a_bad_entry_is_set_aside_and_the_others_are_taken(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench, consumer = Bench(), Picky(error)
    async with bench.following(consumer) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
        assert consumer.taken == [f"secret-{n}" for n in range(6) if n != 3]
        assert feed.settled(6, {CubeKey("acme", f"secret-{n}") for n in range(6) if n != 3})
        assert not feed.settled(4, {KEY}), "who waits for the entry goes on waiting"
        assert feed.settled(3, {KEY}) and not feed.settled(7, set())
    code = error.code if isinstance(error, MemosError) else "internal"
    assert bench.counts["picky_aside", code] == 1
    (row,) = bench.store.derivations(0, KIND)
    assert row.name == "picky:x/4" and b"tea" not in row.body
    assert "entry 4 is set aside" in caplog.text and "secret" not in caplog.text
    # The next owner finds it, and tries it.
    later = Picky(None)
    async with bench.following(later) as feed:
        await eventually(lambda: later.taken == [BAD])
        await eventually(lambda: feed.settled(6, {KEY}))
    assert bench.store.derivations(0, KIND) == []


async def test_VAULT_5_a_store_that_is_away_is_no_fault_of_an_entry() -> None:
    bench, consumer = Bench(), Picky(UnavailableError("away"))
    async with bench.following(consumer) as feed:
        await eventually(lambda: sum(bench.counts.values()) > 5)
        assert (feed.position, consumer.taken) == (0, [])
        consumer.error = None
        await asyncio.wait_for(feed.reached(6), 60)
        assert len(consumer.taken) == 6
    assert bench.store.derivations(0, KIND) == []


async def test_VAULT_5_what_was_set_aside_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_AGAIN_S", 0.01)
    bench, consumer = Bench(), Picky(InvalidInputError("no"))
    async with bench.following(consumer) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
        consumer.error = None
        await eventually(lambda: feed.settled(6, {KEY}))
        assert consumer.taken[-1] == BAD


class Mended(Picky):
    """Takes every entry as soon as it has heard of an erasure."""

    refused = 0

    async def consume(self, events: Sequence[Event]) -> None:
        """Counts how often it does not."""
        if any(event.operation == ERASE for event in events):
            self.error = None
        self.refused += 1
        await super().consume(events)
        self.refused -= 1


async def test_VAULT_5_what_was_set_aside_is_tried_again_when_more_is_heard_of_its_memory() -> None:
    bench, consumer = Bench(), Mended(InvalidInputError("no"))

    async def heard(feed: LogFeed, cubes: Sequence[MemCube], erased: Sequence[MemCube]) -> None:
        bench.store.commit(make_commit(cubes, after=feed.position, epoch=1, erased=erased))
        feed.notify()
        await asyncio.wait_for(feed.reached(bench.store.last_lsn(0)), 60)

    async with bench.following(consumer) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
        await eventually(lambda: feed.behind_s == 0)
        before = consumer.refused
        await heard(feed, [make_cube("tea", id="secret-9")], [])
        await eventually(lambda: feed.behind_s == 0)
        assert consumer.refused == before and not feed.settled(7, {KEY})
        await heard(feed, [], [make_cube("tea", id=BAD)])
        await eventually(lambda: feed.settled(8, {KEY}))
    assert bench.store.derivations(0, KIND) == []


async def test_VAULT_5_what_an_earlier_program_has_set_aside_may_be_about_any_memory() -> None:
    bench = Bench()
    row = Derivation("acme", KIND, "picky:x/4", "notes", "", 0, b'{"operation":"create"}')
    bench.store.save_derivation(0, 1, row)
    bench.store.advance(0, 1, "picky:x", 6)
    async with bench.following(Picky(StoreCorruptError("it is damaged"))) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
        assert not feed.settled(6, {CubeKey("acme", "secret-1")})
        assert feed.settled(6, {CubeKey("umbrella", "secret-1")})


async def test_VAULT_5_a_log_that_is_walked_anew_owes_nothing() -> None:
    bench, consumer = Bench(), Picky(InvalidInputError("no"))
    async with bench.following(consumer) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
        consumer.error, consumer.lost = None, True
        feed.notify()
        await eventually(lambda: feed.settled(6, {KEY}))
        assert len(consumer.taken) == 6
    assert bench.store.derivations(0, KIND) == []


async def test_VAULT_5_a_follower_says_what_keeps_it_and_since_when_it_is_behind() -> None:
    bench, consumer = Bench(), Picky(UnavailableError("away"))
    async with bench.following(consumer) as feed:
        await eventually(lambda: feed.stalled_by == "unavailable")
        assert feed.behind_s > 0
        consumer.error = None
        await feed.reached(6)
        await eventually(lambda: feed.behind_s == 0)
        assert (feed.stalled_by, feed.aside) == (None, 0)


async def test_VAULT_5_what_an_earlier_owner_has_set_aside_is_counted() -> None:
    bench = Bench()
    async with bench.following(Picky(StoreCorruptError("it is damaged"))) as feed:
        await feed.reached(6)
        await eventually(lambda: feed.behind_s == 0)
        assert (feed.stalled_by, feed.aside) == (None, 1), "what goes on is not stalled"
    async with bench.following(Picky(StoreCorruptError("it is damaged"))) as later:
        await later.reached(6)
        await eventually(lambda: later.behind_s == 0)
        assert later.aside == 1


class Chased(Picky):
    """Meets something new whenever it has taken what there was, for a while."""

    def __init__(self, bench: Bench, times: int) -> None:
        super().__init__(None)
        self._bench = bench
        self._times = times
        self.feed: LogFeed | None = None
        self.began: list[float] = []
        self.behind_since: list[float] = []

    async def consume(self, events: Sequence[Event]) -> None:
        """Takes them, and has the log grow meanwhile."""
        await super().consume(events)
        now = asyncio.get_running_loop().time()
        self.began.append(now)
        if self.feed is not None:
            self.behind_since.append(now - self.feed.behind_s)
        if len(self.began) < self._times:
            after = events[-1].lsn
            cube = make_cube("tea", id=f"more-{after}")
            self._bench.store.commit(make_commit([cube], after=after, partition=0, epoch=1))
            await asyncio.sleep(0.01)


async def test_VAULT_5_a_follower_that_keeps_up_with_steady_writes_is_not_behind() -> None:
    bench = Bench()
    consumer = Chased(bench, 6)
    async with bench.following(consumer) as feed:
        consumer.feed = feed
        await feed.reached(11)
    assert len(consumer.began) == 6
    # At the sixth time it is behind since it was level, behind the fourth, and not from the start.
    assert consumer.behind_since[-1] > consumer.began[3]


async def test_VAULT_5_a_consumer_is_not_given_what_it_knows_unless_an_entry_is_aside() -> None:
    def known(position: int) -> int:
        return 5 if position < 5 else position

    bench, consumer = Bench(), Picky(None)
    async with bench.following(consumer, known) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
    assert consumer.taken == ["secret-5"] and bench.store.cursor(0, "picky:x") == 6
    # What was set aside may wait for any entry.
    bench, consumer = Bench(), Picky(StoreCorruptError("it is damaged"))
    async with bench.following(consumer) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
    bench.store.advance(0, 1, "picky:x", 0)
    consumer.taken.clear()
    async with bench.following(consumer, known) as feed:
        await asyncio.wait_for(feed.reached(6), 60)
    assert consumer.taken == [f"secret-{n}" for n in range(6) if n != 3]
