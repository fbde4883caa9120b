"""The adapters of one engine: which are held in host memory, which have a slot, who uses them.

    absent ── load: checked, carried ──> held ── using: a slot is free or can be freed ──> placed
       ^                                  │ ^                                                │
       └── evicted, dropped ──────────────┘ └──────────── its slot goes to another ──────────┘

An engine computes with the adapters in its slots only. One that is in use keeps its slot until the
last answer with it has ended; requests for others wait meanwhile, in their order.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from memos_ray.core.parameter import AdapterLimits, AdapterPayload, AdapterRefusal, check
from memos_ray.errors import InvalidInputError, NotFoundError

OVERTAKEN_MAX = 64
"""So many later requests, whose adapters have slots, may begin before one that waits for a slot."""


class AdapterCarrier(Protocol):
    """Puts adapters into an engine; calls come one at a time.

    Numbers name adapters there, from 1; a number never names another adapter.
    """

    async def hold(self, number: int, payload: AdapterPayload) -> None:
        """Takes an adapter into host memory.

        Raises:
            InvalidInputError: the engine cannot use it; nothing is held then.
        """
        ...

    async def place(self, numbers: tuple[int, ...]) -> None:
        """Fills the slots with exactly these adapters, which are held."""
        ...

    async def drop(self, number: int) -> None:
        """Takes an adapter out of host memory."""
        ...


@dataclass(slots=True)
class _Entry:
    """A held adapter.

    Attributes:
        users: requests that use it or wait for its slot.
        running: those that use it.
        dropped: nobody new gets it; it goes with the last user.
    """

    number: int
    size_bytes: int
    users: int = 0
    running: int = 0
    dropped: bool = False


@dataclass(slots=True)
class _Waiting:
    """A request without a slot."""

    digest: str
    overtaken: int = 0
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    placing: asyncio.Task[None] | None = None


class AdapterRack:
    """Admits adapters to an engine and requests to adapters.

    Invariants: what is held was checked; one in use is neither evicted nor loses its slot; the
    others stay within `host_bytes`; at most `slots` have a slot, as the engine was told.

    Eviction: from host memory and from the slots the least recently used, neither in use nor
    pinned.

    Concurrency: for one event loop. An adapter that several ask for is carried once.

    Complexity: a request is admitted in the number of those that wait.
    """

    def __init__(
        self, carrier: AdapterCarrier, limits: AdapterLimits, slots: int, host_bytes: int
    ) -> None:
        self._carrier = carrier
        self._limits = limits
        self._slots = slots
        self._host_bytes = host_bytes
        self._numbers: dict[str, int] = {}
        self._held: OrderedDict[str, _Entry] = OrderedDict()
        self._placed: OrderedDict[str, asyncio.Task[None]] = OrderedDict()
        self._pinned: set[str] = set()
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._going: dict[str, asyncio.Task[None]] = {}
        self._waiting: list[_Waiting] = []
        self._errands: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    @property
    def held(self) -> dict[str, bool]:
        """The adapters at hand, by digest, and whether each is pinned."""
        return {name: name in self._pinned for name, one in self._held.items() if not one.dropped}

    async def load(self, payload: AdapterPayload, *, pinned: bool = False) -> None:
        """Checks an adapter and takes it into host memory, once; again, it may change its pin.

        Raises:
            InvalidInputError: it does not fit this engine, or too many are pinned.
        """
        digest = payload.manifest.digest
        if not self._slots:
            raise InvalidInputError("the model takes no adapters", adapter=digest)
        if pinned and len(self._pinned - {digest}) + 1 >= self._slots:
            raise InvalidInputError(
                "one slot must be left for adapters that are not pinned",
                adapter=digest,
                reason=AdapterRefusal.PINS.value,
                limit=self._slots - 1,
            )
        while digest not in self._held:
            await self._loaded(payload)
        self._held[digest].dropped = False
        self._held.move_to_end(digest)
        if pinned:
            self._pinned.add(digest)
        else:
            self._pinned.discard(digest)
        self._shrink(keep=digest)

    async def drop(self, digest: str) -> bool:
        """Lets nobody new have an adapter; answers under way end with it. Absent ones are fine.

        Returns:
            Whether its weights are out of memory; not while answers under way use them.
        """
        loading = self._loading.get(digest)
        if loading is not None:
            await asyncio.wait([loading])
        entry = self._held.get(digest)
        if entry is not None:
            entry.dropped = True
            self._pinned.discard(digest)
            self._shrink()
        going = self._going.get(digest)
        if going is not None:
            await asyncio.wait([going])
        return digest not in self._held

    @asynccontextmanager
    async def using(self, digest: str) -> AsyncIterator[int]:
        """Yields the number of an adapter in a slot, which it keeps meanwhile.

        Whether it is held is decided before anything is awaited.

        Raises:
            NotFoundError: it is not held.
        """
        entry = self._held.get(digest)
        if entry is None or entry.dropped:
            raise NotFoundError("the adapter is not loaded", adapter=digest)
        self._held.move_to_end(digest)
        entry.users += 1
        waiting = _Waiting(digest)
        self._waiting.append(waiting)
        try:
            self._admit()
            await waiting.granted.wait()
            assert waiting.placing is not None
            await asyncio.shield(waiting.placing)
            yield entry.number
        finally:
            if waiting.granted.is_set():
                entry.running -= 1
            else:
                self._waiting.remove(waiting)
            entry.users -= 1
            self._admit()
            self._shrink()

    async def _loaded(self, payload: AdapterPayload) -> None:
        digest = payload.manifest.digest
        loading = self._loading.get(digest)
        if loading is not None:
            # Whether that payload was damaged says nothing about this one.
            await asyncio.wait([loading])
            return
        loading = self._loading[digest] = self._errand(self._load(payload))
        loading.add_done_callback(lambda _: self._loading.pop(digest))
        await asyncio.shield(loading)

    async def _load(self, payload: AdapterPayload) -> None:
        await asyncio.to_thread(check, payload, self._limits)
        digest = payload.manifest.digest
        number = self._numbers.setdefault(digest, len(self._numbers) + 1)
        async with self._turn:
            await self._carrier.hold(number, payload)
        self._held[digest] = _Entry(number, payload.data.size)

    def _admit(self) -> None:
        """Lets those begin that can, in their order, except that a slot may be waited for."""
        blocked: list[_Waiting] = []
        for waiting in list(self._waiting):
            overtaking = all(other.overtaken < OVERTAKEN_MAX for other in blocked)
            if waiting.digest not in self._placed and (blocked or not self._find_slot(waiting)):
                blocked.append(waiting)
            elif overtaking:
                for other in blocked:
                    other.overtaken += 1
                self._begin(waiting)
            else:
                return

    def _begin(self, waiting: _Waiting) -> None:
        self._waiting.remove(waiting)
        self._placed.move_to_end(waiting.digest)
        self._held[waiting.digest].running += 1
        waiting.placing = self._placed[waiting.digest]
        waiting.granted.set()

    def _find_slot(self, waiting: _Waiting) -> bool:
        if len(self._placed) >= self._slots:
            idle = (name for name in self._placed if not self._held[name].running)
            victim = next((name for name in idle if name not in self._pinned), None)
            if victim is None:
                return False
            del self._placed[victim]
        self._placed[waiting.digest] = self._errand(self._place(waiting.digest))
        return True

    async def _place(self, digest: str) -> None:
        try:
            async with self._turn:
                # All of them: whatever went wrong before, the engine has just these.
                await self._carrier.place(tuple(self._held[name].number for name in self._placed))
        except BaseException:
            if self._placed.get(digest) is asyncio.current_task():
                del self._placed[digest]
            raise

    def _shrink(self, keep: str = "") -> None:
        """Takes away what was dropped, and what there is no room for."""
        total = sum(entry.size_bytes for entry in self._held.values())
        for name, entry in list(self._held.items()):
            spare = total > self._host_bytes and name not in self._pinned and name != keep
            if not entry.users and (entry.dropped or spare):
                total -= entry.size_bytes
                del self._held[name]
                self._placed.pop(name, None)
                self._going[name] = going = self._errand(self._take_away(entry.number))
                going.add_done_callback(partial(self._gone, name))

    def _gone(self, name: str, going: asyncio.Task[None]) -> None:
        if self._going.get(name) is going:
            del self._going[name]

    async def _take_away(self, number: int) -> None:
        async with self._turn:
            await self._carrier.drop(number)

    def _errand(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        # Who waits for it is told; an engine that has died holds nothing anyway.
        if not task.cancelled():
            task.exception()
