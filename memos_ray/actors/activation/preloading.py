"""Loads what the next turn of a conversation is likely to need, behind the answer to this one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from memos_ray.actors.courtesy import Courtesy
from memos_ray.actors.turns import FairGate
from memos_ray.actors.vault.bodies import BodyCache
from memos_ray.actors.vault.residency import Place, Residency
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.defects import describe_defect
from memos_ray.core.lifecycle.states import LIVE
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.scheduling.fairness import Priority
from memos_ray.core.scheduling.working_set import CoUse, Foresight, Near, WorkingSet
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import MemosError
from memos_ray.ports import RecordStorePort

_MOST_SESSIONS = 4096
_MOST_PLACES = 256
_AT_ONCE = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreloadBudget:
    """How much is loaded for one turn; nothing where `memories` is 0."""

    memories: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Whose conversation it is: nobody else's forecast follows from it."""

    place: Place
    principal: str
    conversation: str


@dataclass(slots=True)
class _Session:
    working_set: WorkingSet
    near: _Near
    # What was at hand for the turn that comes; nothing before the first answer.
    ready: frozenset[str] | None = None


@dataclass(slots=True)
class _Near:
    """Who stands beside memories, in an index that may go and come."""

    ask: Near | None = None

    def __call__(self, ids: Iterable[str], reach: int) -> Mapping[str, Sequence[tuple[str, int]]]:
        return {} if self.ask is None else self.ask(ids, reach)


@dataclass(slots=True)
class _Due:
    """Sessions that wait for their forecast, the one that waits longest first."""

    keys: OrderedDict[SessionKey, None] = field(default_factory=OrderedDict)
    task: asyncio.Task[None] | None = None


class Preloader:
    """Keeps the working set of each conversation, and warms what its next turn will need.

        answered ──▶ forecast ──▶ the namespace's index resident
                                  texts out of the store, or out of the archive, in memory

    The KV cache of a kept conversation is computed behind the answer as well; see `Conversations`.
    A forecast only decides what is in memory: whether a caller may have it is judged when it is
    used. It is lost with the process, and learnt anew.

    Attributes:
        counters: `preload_needed` memories that turns behind a first one used, `preload_hits` of
            them that were at hand by a forecast, `preload_turns` forecasts made and
            `preload_loaded` memories that had to be fetched for them.

    Eviction: the conversation that was longest silent; what is loaded, as the caches do.

    Concurrency: runs on the actor's event loop, one forecast at a time, between which it steps
    aside as background work does; the store is asked on `executor`.
    """

    def __init__(
        self,
        budget: PreloadBudget,
        *,
        store: RecordStorePort,
        residency: Residency,
        bodies: BodyCache,
        executor: Executor,
        pressing: Callable[[], bool],
        turns: FairGate,
        foresight: Foresight | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._budget = budget
        self._store = store
        self._residency = residency
        self._bodies = bodies
        self._executor = executor
        self._courtesy = Courtesy(pressing)
        self._turns = turns
        self._foresight = foresight or Foresight()
        self._sessions: OrderedDict[SessionKey, _Session] = OrderedDict()
        self._co_use: OrderedDict[Place, CoUse] = OrderedDict()
        self._due = _Due()

    def note(self, place: Place, answered: AnsweredPrompt) -> None:
        """Counts what a turn used, and has the next one's forecast made behind it."""
        used = [cube_id for cube_id, _ in answered.hits]
        if not self._budget.memories or not answered.conversation or not used:
            return
        key = SessionKey(place, answered.context.principal.id, answered.conversation)
        session = self._session(key)
        if session.ready is not None:
            self.counters["preload_needed"] += len(used)
            self.counters["preload_hits"] += len(session.ready.intersection(used))
        session.working_set.note(used)
        session.ready = frozenset()
        self._due.keys[key] = None
        if self._due.task is None:
            self._due.task = asyncio.create_task(self._run())

    def ready(self, place: Place, principal: str, conversation: str) -> frozenset[str]:
        """Returns what was at hand for a conversation's next turn by its forecast."""
        session = self._sessions.get(SessionKey(place, principal, conversation))
        return (session.ready if session else None) or frozenset()

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for key in [key for key in self._sessions if key.place.partition == partition]:
            del self._sessions[key]
            self._due.keys.pop(key, None)
        for place in [place for place in self._co_use if place.partition == partition]:
            del self._co_use[place]

    async def settle(self) -> None:
        """Returns when every forecast has been made."""
        while self._due.task is not None:
            await asyncio.wait([self._due.task])

    async def close(self) -> None:
        """Ends what is being loaded."""
        task = self._due.task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _session(self, key: SessionKey) -> _Session:
        session = self._sessions.get(key)
        if session is None:
            shared = self._co_use.setdefault(key.place, CoUse())
            near = _Near()
            session = _Session(WorkingSet(near, shared, self._foresight), near)
            self._sessions[key] = session
        self._sessions.move_to_end(key)
        if key.place in self._co_use:
            self._co_use.move_to_end(key.place)
        while len(self._sessions) > _MOST_SESSIONS:
            gone, _ = self._sessions.popitem(last=False)
            self._due.keys.pop(gone, None)
        while len(self._co_use) > _MOST_PLACES:
            self._co_use.popitem(last=False)
        return session

    async def _run(self) -> None:
        try:
            while self._due.keys:
                key, _ = self._due.keys.popitem(last=False)
                session = self._sessions.get(key)
                if session is not None:
                    await self._warm(key.place, session)
        finally:
            self._due.task = None

    async def _warm(self, place: Place, session: _Session) -> None:
        try:
            await self._courtesy.turn()
            index = await self._residency.index(place, self._courtesy)
            session.near.ask = None if index is None else index.beside
            async with self._turns.turn(place.tenant, Priority.BACKGROUND):
                wanted = session.working_set.next_turn(self._budget.memories)
            # An index must not outlive its eviction here.
            session.near.ask = None
            session.ready, fetched = await self._loaded(place, wanted)
        except MemosError as error:
            _log.info("nothing was loaded for a next turn: %s", error.code)
        except Exception as error:
            _log.warning("loading for a next turn failed: %s", describe_defect(error))
        else:
            self.counters["preload_turns"] += 1
            self.counters["preload_loaded"] += fetched
            _log.info(
                "loaded for a next turn: %d forecast, %d at hand, %d of them fetched",
                len(wanted),
                len(session.ready),
                fetched,
            )

    async def _loaded(self, place: Place, wanted: Sequence[str]) -> tuple[frozenset[str], int]:
        """Fetches what is not in memory, the likeliest first, within the budget of bytes.

        Returns:
            What is there now, and how many of them had to be fetched.
        """
        partition = place.partition
        keys = [CubeKey(place.tenant, cube_id) for cube_id in wanted]
        ready = {key.id for key in keys if self._bodies.touch(partition, key)}
        missing = [key for key in keys if key.id not in ready]
        room, fetched = self._budget.size_bytes, 0
        for start in range(0, len(missing), _AT_ONCE):
            if room <= 0:
                break
            await self._courtesy.turn()
            generation = self._bodies.generation(partition)
            heads: dict[CubeKey, MemCube] = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._store.heads, partition, missing[start : start + _AT_ONCE]
            )
            for head in heads.values():
                if head.state in LIVE and head.namespace == place.namespace and room > 0:
                    size = self._bodies.put(partition, head, generation)
                    room -= size
                    fetched += size > 0
                    if size:
                        ready.add(head.id)
        return frozenset(ready), fetched
