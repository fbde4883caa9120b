"""The supervisor with a crew without processes, looking when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from memos_ray.actors.ring_store import load_ring
from memos_ray.actors.supervisor import Supervisor
from memos_ray.config import VaultSettings
from memos_ray.core.vault.log import ControlChange
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import (
    ConfigurationError,
    InvalidInputError,
    StoreCorruptError,
    UnavailableError,
)
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.crews import PlainCrew

AWAY = UnavailableError("the actor is away")
PARTITIONS = 6


class Looks:
    """Stands in for the pause between two looks."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(0)
        self._paused = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        self._paused.set()
        await self._turns.acquire()

    async def once(self) -> None:
        """Lets the supervisor look once, and waits until it is done."""
        await self._paused.wait()
        self._paused.clear()
        self._turns.release()
        await self._paused.wait()


class Killed(BaseException):
    """Ends a supervisor where it stands."""


class World:
    """What outlives a supervisor: the store and the crew."""

    def __init__(self) -> None:
        self.control = MemoryControlStore()
        self.crew = PlainCrew()

    @asynccontextmanager
    async def supervisor(self, shards: int = 2) -> AsyncIterator[tuple[Supervisor, Looks]]:
        looks = Looks()
        settings = VaultSettings(shards=shards, partitions=PARTITIONS)
        supervisor = Supervisor(self.control, self.crew, settings, looks.pause)
        try:
            yield supervisor, looks
        finally:
            await supervisor.close()

    def held(self) -> dict[str, set[int]]:
        return {name: shard.held for name, shard in self.crew.shards.items()}

    def check(self, ring: Ring) -> None:
        """Every shard of the ring runs and holds exactly what the ring gives it; no other runs."""
        assert self.held() == {name: set(ring.owned_by(name)) for name in ring.owners}
        assert ring == load_ring(self.control)


@pytest.fixture
def world() -> World:
    return World()


def names(count: int) -> set[str]:
    return {f"shard-{number}" for number in range(count)}


async def test_boot_starts_everything_and_has_every_partition_served(world: World) -> None:
    async with world.supervisor() as (supervisor, _):
        ring = await supervisor.boot()
        world.check(ring)
        assert set(ring.owners) == names(2)
        assert world.crew.calls[0] == "start governance"
        assert await supervisor.boot() == ring


async def test_boot_says_what_does_not_come_up(world: World) -> None:
    world.crew.stillborn = {"shard-1"}
    async with world.supervisor() as (supervisor, looks):
        with pytest.raises(UnavailableError):
            await supervisor.boot()
        world.crew.stillborn = set()
        await looks.once()
        world.check(await supervisor.ring())


async def test_the_number_of_partitions_is_fixed_by_the_first_boot(world: World) -> None:
    async with world.supervisor() as (supervisor, _):
        await supervisor.boot()
    other = VaultSettings(shards=2, partitions=PARTITIONS + 1)
    with pytest.raises(ConfigurationError) as caught:
        await Supervisor(world.control, world.crew, other).boot()
    assert caught.value.details == {"configured": PARTITIONS + 1, "found": PARTITIONS}


@pytest.mark.parametrize("shards", [0, PARTITIONS + 1])
async def test_a_number_of_shards_that_cannot_be_changes_nothing(world: World, shards: int) -> None:
    async with world.supervisor() as (supervisor, _):
        ring = await supervisor.boot()
        with pytest.raises(InvalidInputError):
            await supervisor.scale(shards)
        world.check(ring)


async def test_a_damaged_ring_is_said_to_be_damaged(world: World) -> None:
    world.control.commit([ControlChange("", "ring", "ring", b'{"version": 1}', 0)], [])
    async with world.supervisor() as (supervisor, _):
        with pytest.raises(StoreCorruptError):
            await supervisor.boot()


async def test_a_dead_shard_is_started_and_gets_its_partitions_back(world: World) -> None:
    async with world.supervisor() as (supervisor, looks):
        ring = await supervisor.boot()
        world.crew.die("shard-1")
        await looks.once()
        world.check(ring)


async def test_a_shard_that_lost_a_partition_gets_it_back(world: World) -> None:
    async with world.supervisor() as (supervisor, looks):
        ring = await supervisor.boot()
        shard = world.crew.shards["shard-0"]
        lost = next(iter(shard.held))
        await shard.disown([lost])
        await looks.once()
        world.check(ring)


async def test_a_shard_gives_up_what_is_not_its_own(world: World) -> None:
    async with world.supervisor() as (supervisor, looks):
        ring = await supervisor.boot()
        taken = ring.owned_by("shard-0")[0]
        await world.crew.shards["shard-1"].own([taken])
        assert taken not in world.crew.shards["shard-0"].held
        await world.crew.shards["shard-0"].disown([taken])
        await looks.once()
        world.check(ring)


async def test_one_that_cannot_be_mended_keeps_no_other_from_it(world: World) -> None:
    async with world.supervisor(3) as (supervisor, looks):
        ring = await supervisor.boot()

        def fail(call: str) -> None:
            if call in ("start governance", "list"):
                raise AWAY
            if call == "start shard-0":
                raise RuntimeError("nobody has thought of this")

        world.crew.before = fail
        for name in sorted(names(3)):
            world.crew.die(name)
        for _ in range(2):
            await looks.once()
            assert world.held() == {
                name: set(ring.owned_by(name)) for name in ("shard-1", "shard-2")
            }
        world.crew.before = lambda call: None
        await looks.once()
        world.check(ring)


async def test_status_names_the_dead_and_waits_for_nobody(world: World) -> None:
    async with world.supervisor() as (supervisor, _):
        ring = await supervisor.boot()
        world.crew.die("shard-0")
        status = await supervisor.status()
        assert status["shard-0"] is None
        found = status["shard-1"]
        assert found is not None and set(found.partitions) == set(ring.owned_by("shard-1"))


async def test_scaling_moves_as_little_as_it_can(world: World) -> None:
    async with world.supervisor(2) as (supervisor, _):
        before = await supervisor.boot()
        after = await supervisor.scale(3)
        world.check(after)
        assert set(after.owners) == names(3)
        moved = [p for p in range(PARTITIONS) if before.owner(p) != after.owner(p)]
        assert len(moved) == PARTITIONS // 3
        world.check(await supervisor.scale(1))
        assert "stop shard-2" in world.crew.calls


async def test_what_was_chosen_by_hand_holds_until_the_settings_change(world: World) -> None:
    async with world.supervisor(2) as (supervisor, _):
        await supervisor.boot()
        chosen = await supervisor.scale(4)
    async with world.supervisor(2) as (supervisor, _):
        assert await supervisor.ring() == chosen
        assert await supervisor.boot() == chosen
        world.check(chosen)
    async with world.supervisor(3) as (supervisor, looks):
        ring = await supervisor.ring()
        assert set(ring.owners) == names(3)
        await looks.once()
        world.check(ring)


async def test_an_owner_that_does_not_hear_is_fenced_off(world: World) -> None:
    async with world.supervisor(1) as (supervisor, looks):
        await supervisor.boot()
        deaf = world.crew.shards["shard-0"]
        deaf.away = AWAY
        with suppress(UnavailableError):
            await supervisor.scale(2)
        ring = await supervisor.ring()
        moved = set(ring.owned_by("shard-1"))
        assert moved and world.crew.shards["shard-1"].held == moved
        assert not deaf.held & moved
        deaf.away = None
        await looks.once()
        world.check(ring)


async def test_a_restarted_supervisor_knows_the_ring_before_everything_is_mended(
    world: World,
) -> None:
    async with world.supervisor() as (supervisor, _):
        ring = await supervisor.boot()
    world.crew.stillborn = {"shard-0"}
    world.crew.die("shard-0")
    async with world.supervisor() as (supervisor, looks):
        assert await supervisor.ring() == ring
        world.crew.stillborn = set()
        await looks.once()
        world.check(ring)


async def test_an_incarnation_that_was_cut_off_follows_its_successor(world: World) -> None:
    async with world.supervisor() as (old, old_looks), world.supervisor() as (new, _):
        await old.boot()
        ring = await new.scale(3)
        await old_looks.once()
        world.check(ring)
        assert await old.ring() == ring


@pytest.mark.parametrize("target", [1, 2, 5])
async def test_killed_on_any_line_its_successor_finishes_the_move(target: int) -> None:
    survived = 0
    for line in _lines():
        world = World()
        async with world.supervisor(3) as (supervisor, _):
            before = await supervisor.boot()
            world.crew.before = _kill_at(line)
            with suppress(Killed):
                await supervisor.scale(target)
                survived += 1
            world.crew.before = lambda call: None
        async with world.supervisor(3) as (successor, looks):
            ring = await successor.ring()
            assert ring == before or set(ring.owners) == names(target)
            await looks.once()
            world.check(ring)
        if survived:
            break
    assert line > 2


@pytest.mark.parametrize("shards", [1, 3])
async def test_killed_on_any_line_of_a_boot_its_successor_boots(shards: int) -> None:
    for line in _lines():
        world = World()
        async with world.supervisor(2) as (supervisor, _):
            await supervisor.boot()
        world.crew.before = _kill_at(line)
        async with world.supervisor(shards) as (supervisor, _):
            booted = False
            with suppress(Killed):
                await supervisor.boot()
                booted = True
            world.crew.before = lambda call: None
        async with world.supervisor(shards) as (successor, looks):
            ring = await successor.ring()
            assert set(ring.owners) == names(shards)
            await looks.once()
            world.check(ring)
        if booted:
            break
    assert line > 2


def _lines() -> Iterator[int]:
    yield from range(1, 100)


def _kill_at(line: int) -> Callable[[str], None]:
    """Kills the supervisor at its n-th call to the crew."""
    calls = 0

    def count(call: str) -> None:
        nonlocal calls
        calls += 1
        if calls == line:
            raise Killed

    return count
