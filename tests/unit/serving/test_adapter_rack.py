"""The rack of adapters: who waits, who goes, and what an engine is told, without an engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from memos_ray.core.parameter import AdapterLimits, AdapterPayload
from memos_ray.errors import InvalidInputError, NotFoundError, UnavailableError
from memos_ray.serving.lora.rack import OVERTAKEN_MAX, AdapterRack
from memos_ray.testing.random_adapters import random_adapter

SHAPES = {"layers.0.q_proj": (8, 8)}


def adapter(seed: int) -> AdapterPayload:
    return random_adapter("base", SHAPES, seed=seed, rank=2)


SIZE = adapter(0).data.size
A, B, C, D = (adapter(seed) for seed in range(4))


@dataclass
class Recorder:
    """An engine that only notes what it is told, and says when that is impossible."""

    held: dict[int, str] = field(default_factory=dict)
    placed: tuple[int, ...] = ()
    holds: list[str] = field(default_factory=list)
    places: list[tuple[int, ...]] = field(default_factory=list)
    refusing: bool = False
    dead: bool = False

    async def hold(self, number: int, payload: AdapterPayload) -> None:
        await asyncio.sleep(0)
        self.holds.append(payload.manifest.digest)
        if self.refusing:
            raise InvalidInputError("no")
        assert number not in self.held
        self.held[number] = payload.manifest.digest

    async def place(self, numbers: tuple[int, ...]) -> None:
        await asyncio.sleep(0)
        if self.dead:
            raise UnavailableError("dead")
        assert set(numbers) <= self.held.keys()
        self.placed = numbers
        self.places.append(numbers)

    async def drop(self, number: int) -> None:
        await asyncio.sleep(0)
        del self.held[number]
        self.placed = tuple(one for one in self.placed if one != number)


class Scene:
    """A rack, and requests that use it."""

    def __init__(self, slots: int = 2, room: int = 10) -> None:
        self.engine = Recorder()
        limits = AdapterLimits("base", SHAPES, rank_max=4, bytes_max=2 * SIZE)
        self.rack = AdapterRack(self.engine, limits, slots, room * SIZE)
        self.begun: list[str] = []

    @asynccontextmanager
    async def request(self, name: str, payload: AdapterPayload) -> AsyncIterator[asyncio.Event]:
        """Runs a request until its event is set."""
        end = asyncio.Event()

        async def run() -> None:
            async with self.rack.using(payload.manifest.digest) as number:
                self.begun.append(name)
                assert self.engine.held[number] == payload.manifest.digest
                await end.wait()
                assert number in self.engine.placed

        task = asyncio.create_task(run())
        await self.settled()
        yield end
        end.set()
        await asyncio.gather(task, return_exceptions=False)

    async def settled(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


def digest(payload: AdapterPayload) -> str:
    return payload.manifest.digest


async def test_many_that_come_at_once_load_it_once() -> None:
    scene = Scene()
    await asyncio.gather(*[scene.rack.load(A) for _ in range(20)])
    assert scene.engine.holds == [digest(A)]
    assert scene.rack.held == {digest(A): False}


async def test_a_damaged_one_does_not_spoil_another_load() -> None:
    scene, data = Scene(), A.data.copy()
    data[-1] ^= 1
    damaged = AdapterPayload(A.manifest, data)
    first, second = await asyncio.gather(
        scene.rack.load(damaged), scene.rack.load(A), return_exceptions=True
    )
    assert isinstance(first, InvalidInputError) and second is None
    assert scene.rack.held == {digest(A): False}


async def test_what_the_engine_refuses_is_not_held() -> None:
    scene = Scene()
    scene.engine.refusing = True
    with pytest.raises(InvalidInputError):
        await scene.rack.load(A)
    assert scene.rack.held == {}
    scene.engine.refusing = False
    await scene.rack.load(A)


async def test_numbers_stay_with_their_adapter() -> None:
    scene, numbers = Scene(room=1), dict[str, set[int]]()
    for payload in (A, B, A, C, B, A):
        await scene.rack.load(payload)
        async with scene.rack.using(digest(payload)) as number:
            numbers.setdefault(digest(payload), set()).add(number)
    assert all(len(found) == 1 for found in numbers.values())
    assert len(set.union(*numbers.values())) == 3


async def test_one_in_use_keeps_its_slot_and_its_place() -> None:
    scene = Scene(slots=2, room=2)
    for payload in (A, B):
        await scene.rack.load(payload)
    async with scene.request("a", A) as a, scene.request("b", B):
        await scene.rack.load(C)
        assert set(scene.rack.held) == {digest(A), digest(B), digest(C)}
        async with scene.request("c", C):
            assert scene.begun == ["a", "b"]
            a.set()
            await scene.settled()
            assert scene.begun == ["a", "b", "c"]
    await scene.settled()
    # With nobody left, what is too much has gone.
    assert len(scene.rack.held) == 2
    assert set(scene.engine.held.values()) == set(scene.rack.held)


async def test_those_that_wait_begin_in_their_order() -> None:
    scene = Scene(slots=1)
    for payload in (A, B, C, D):
        await scene.rack.load(payload)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(scene.request("a", A))
        others = [
            await stack.enter_async_context(scene.request(name, payload))
            for name, payload in (("d", D), ("b", B), ("c", C))
        ]
        for event in (first, *others):
            event.set()
            await scene.settled()
    assert scene.begun == ["a", "d", "b", "c"]
    assert [len(numbers) for numbers in scene.engine.places] == [1] * 4


async def test_a_busy_adapter_cannot_keep_others_waiting_for_ever() -> None:
    scene = Scene(slots=1)
    for payload in (A, B):
        await scene.rack.load(payload)
    requests = [("a", A), ("b", B), *((f"a{n}", A) for n in range(OVERTAKEN_MAX + 5))]
    async with AsyncExitStack() as stack:
        events = [await stack.enter_async_context(scene.request(*one)) for one in requests]
        assert len(scene.begun) == 1 + OVERTAKEN_MAX
        for event in events:
            event.set()
        await scene.settled()
        assert scene.begun[1 + OVERTAKEN_MAX] == "b"
    assert len(scene.begun) == len(requests)


async def test_who_leaves_while_waiting_is_forgotten() -> None:
    scene = Scene(slots=1)
    for payload in (A, B, C):
        await scene.rack.load(payload)
    async with scene.request("a", A) as a:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), scene.rack.using(digest(B)):
                raise AssertionError("there is no slot")
        async with scene.request("c", C):
            a.set()
            await scene.settled()
            assert scene.begun == ["a", "c"]


async def test_a_dropped_one_serves_those_that_have_it_only() -> None:
    scene = Scene()
    await scene.rack.load(A)
    async with scene.request("a", A):
        await scene.rack.drop(digest(A))
        assert scene.rack.held == {}
        with pytest.raises(NotFoundError):
            async with scene.rack.using(digest(A)):
                raise AssertionError("it was dropped")
        assert digest(A) in scene.engine.held.values()
    await scene.settled()
    assert scene.engine.held == {} and scene.engine.placed == ()


async def test_a_dropped_one_that_is_loaded_again_stays() -> None:
    scene = Scene()
    await scene.rack.load(A)
    async with scene.request("a", A):
        await scene.rack.drop(digest(A))
        await scene.rack.load(A)
    await scene.settled()
    assert scene.rack.held == {digest(A): False}
    assert scene.engine.holds == [digest(A)]


async def test_a_pinned_one_keeps_slot_and_place() -> None:
    scene = Scene(slots=2, room=2)
    await scene.rack.load(A, pinned=True)
    async with scene.request("a", A):
        pass
    (number,) = scene.engine.placed
    for payload in (B, C, D):
        await scene.rack.load(payload)
        async with scene.request("other", payload):
            assert number in scene.engine.placed
    assert scene.rack.held == {digest(A): True, digest(D): False}
    with pytest.raises(InvalidInputError, match="pinned"):
        await scene.rack.load(B, pinned=True)
    await scene.rack.drop(digest(A))
    await scene.rack.load(B, pinned=True)
    assert scene.rack.held[digest(B)]


async def test_when_the_engine_dies_everybody_is_told() -> None:
    scene = Scene(slots=1)
    for payload in (A, B):
        await scene.rack.load(payload)
    scene.engine.dead = True

    async def use(payload: AdapterPayload) -> None:
        async with scene.rack.using(digest(payload)):
            raise AssertionError("it is dead")

    outcomes = await asyncio.gather(
        *[use(payload) for payload in (A, B, A, B)], return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [UnavailableError] * 4
