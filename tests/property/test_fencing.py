"""Two shards that both believe to own a partition: whatever they do at once, one log comes of it.

A write is held back between its plan and its commit, and the other shard takes the partition over
and writes in between; owners change back and forth, are cut off and start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memos_ray.actors.vault.shard import VaultShard
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.config import VaultSettings
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import NamespaceMode
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.cube.predicate import Everything
from memos_ray.core.retrieval.requests import SearchRequest
from memos_ray.core.vault.log import Commit, CubeKey, Outcome
from memos_ray.core.vault.operations import Create, Update, UpdateMode, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.core.vault.ring import Ring
from memos_ray.errors import FencedError, MemosError, NotOwnerError, VersionConflictError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.record_store import MemoryRecordStore
from memos_ray.testing.shards import ShardBench

PARTITIONS = (0, 1)
NAMES = ("shard-0", "shard-1")
CALLER = CallContext(Principal("acme", "user:ann"))
LOST = (FencedError, NotOwnerError)
COUNTER = "counter"
ALL = 10**9

T = TypeVar("T")
partitions = st.sampled_from(PARTITIONS)
shards = st.sampled_from(NAMES)


class Interrupted:
    """Lets something happen between the plan of a transaction and its commit."""

    meanwhile: Callable[[], None] | None = None

    def interrupt(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()


class InMemory(Interrupted, MemoryRecordStore):
    def commit(self, commit: Commit) -> None:
        self.interrupt()
        super().commit(commit)


class InFiles(Interrupted, SqlRecordStore):
    def commit(self, commit: Commit) -> None:
        self.interrupt()
        super().commit(commit)


@dataclass(frozen=True)
class Step:
    """What happens while a write is held back: a move, or a write through some shard."""

    verb: str
    shard: str


steps = st.builds(Step, st.sampled_from(("own", "disown", "add", "count", "search")), shards)


@dataclass
class Told:
    """What the writers of one partition were told: lines by version, and ids by text."""

    lines: dict[int, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)


class Fencing(RuleBasedStateMachine):
    """Two shards, two partitions, one store."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.open_store()
        ring = Ring(1, (NAMES[0], NAMES[1]))
        settings = VaultSettings(partitions=len(PARTITIONS))
        self.bench = ShardBench(self.store, ManualClock(), lambda: ring, settings)
        self.run(self.bench.admit("acme", ("user:ann",), {"notes": NamespaceMode.WRITABLE}))
        self.retired: list[VaultShard] = []
        self.serial = 0
        self.told = {partition: Told() for partition in PARTITIONS}
        self.run(self.begin())

    def open_store(self) -> None:
        self.store: InMemory | InFiles = InMemory()

    async def begin(self) -> None:
        self.shards = {name: self.bench.shard(name) for name in NAMES}
        for partition, name in zip(PARTITIONS, NAMES, strict=True):
            create = Create(Plaintext("line 0"), id=COUNTER)
            write = Write("notes", create, idempotency_key="first")
            (made,) = await self.shards[name].write(partition, [Submission(CALLER, write)])
            assert isinstance(made, Written)
            self.told[partition].lines[1] = "line 0"

    def teardown(self) -> None:
        for shard in (*self.shards.values(), *self.retired):
            self.run(shard.close())
        self.loop.close()
        self.store.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(name=shards, partition=partitions, steps=st.lists(steps, min_size=1, max_size=4))
    def a_write_is_overtaken(self, name: str, partition: int, steps: list[Step]) -> None:
        """Other things happen between the plan of this write and its commit."""

        async def meanwhile() -> None:
            for step in steps:
                # The shard itself is held back: who asks it, waits for this.
                if step.shard != name:
                    await self.take(step, partition, apart_from=name)

        async def write() -> None:
            loop = asyncio.get_running_loop()
            self.store.meanwhile = lambda: asyncio.run_coroutine_threadsafe(
                meanwhile(), loop
            ).result()
            await self.count(self.shards[name], partition)
            self.store.meanwhile = None

        self.run(write())

    @rule(partition=partitions, steps=st.lists(steps, min_size=1, max_size=6))
    def many_things_happen_at_once(self, partition: int, steps: list[Step]) -> None:
        async def all_at_once() -> None:
            await asyncio.gather(*(self.take(step, partition) for step in steps))

        self.run(all_at_once())

    @rule(name=shards)
    def a_shard_is_cut_off_and_another_started(self, name: str) -> None:
        """The old one goes on; it does not know that it has been replaced."""

        async def replaced() -> None:
            self.retired.append(self.shards[name])
            self.shards[name] = self.bench.shard(name)

        self.run(replaced())

    @rule(partition=partitions)
    def the_cut_off_write_on(self, partition: int) -> None:
        """They may, as long as nobody has taken the partition over.

        One that has served nothing yet takes over what the ring gives to its name.
        """
        for shard in self.retired:
            epoch = self.run(shard.status()).partitions.get(partition)
            newest = self.store.fence(partition).epoch
            before = len(self.told[partition].lines)
            self.run(self.count(shard, partition))
            assert epoch in (None, newest) or len(self.told[partition].lines) == before

    @invariant()
    def the_log_is_one(self) -> None:
        for partition in PARTITIONS:
            events = self.store.events(partition, 0, ALL)
            assert [event.lsn for event in events] == list(range(1, len(events) + 1))
            done = [(e.cube_id, e.version) for e in events if e.outcome is Outcome.DONE]
            assert len(done) == len(set(done))

    @invariant()
    def what_was_acknowledged_is_there_once_and_nothing_else(self) -> None:
        for partition in PARTITIONS:
            told, key = self.told[partition], CubeKey("acme", COUNTER)
            numbers = [info.number for info in self.store.versions(partition, key, ALL, ALL)]
            assert numbers == sorted(told.lines, reverse=True)
            for number, line in told.lines.items():
                cube = self.store.version(partition, key, number)
                assert cube is not None and cube.text == line
            stored = {
                cube.text: cube.id
                for cube in self.store.scan(partition, "acme", "notes", Everything(), None, ALL)
                if cube.id != COUNTER
            }
            assert stored == told.added

    @invariant()
    def the_owner_sees_it_all(self) -> None:
        """Whoever holds the newest epoch, and knows it, finds all that is there, as it is."""
        for partition in PARTITIONS:
            fence = self.store.fence(partition)
            shard = self.shards[fence.owner]
            if self.run(shard.status()).partitions.get(partition) != fence.epoch:
                continue
            request = SearchRequest(CALLER, "notes", "", k=ALL)
            found = self.run(shard.search(partition, request)).hits
            stored = self.store.scan(partition, "acme", "notes", Everything(), None, ALL)
            assert sorted((hit.cube.id, hit.cube.text) for hit in found) == sorted(
                (cube.id, cube.text) for cube in stored
            )

    async def take(self, step: Step, partition: int, apart_from: str = "") -> None:
        shard = self.shards[step.shard]
        match step.verb:
            case "own":
                # Of two that take it at once, one is told that it was too late.
                with contextlib.suppress(FencedError):
                    await shard.own([partition])
            case "disown":
                await shard.disown([partition])
            case "search":
                with contextlib.suppress(*LOST):
                    await shard.search(partition, SearchRequest(CALLER, "notes", "", k=ALL))
            case "add":
                others = [one for name, one in self.shards.items() if name != apart_from]
                await self.add([shard, *others], partition)
            case _:
                await self.count(shard, partition)

    async def count(self, shard: VaultShard, partition: int) -> None:
        """Makes the next version of the counter, unless somebody else has made it meanwhile."""
        self.serial += 1
        line, newest = f"line {self.serial}", max(self.told[partition].lines)
        update = Update(COUNTER, UpdateMode.OVERWRITE, text=line, expected=newest)
        outcome = await self.ask(shard, partition, Write("notes", update))
        if isinstance(outcome, Written):
            lines = self.told[partition].lines
            assert outcome.version == newest + 1 and outcome.version not in lines
            lines[outcome.version] = line
        else:
            assert isinstance(outcome, (*LOST, VersionConflictError))

    async def add(self, shards: Sequence[VaultShard], partition: int) -> None:
        """Adds one memory, asked for at several shards with one idempotency key."""
        self.serial += 1
        text = f"memory {self.serial}"
        write = Write("notes", Create(Plaintext(text), minted_id=f"m-{self.serial}"), text)
        for shard in shards:
            outcome = await self.ask(shard, partition, write)
            if isinstance(outcome, Written):
                assert self.told[partition].added.setdefault(text, outcome.cube_id) == (
                    outcome.cube_id
                )

    async def ask(self, shard: VaultShard, partition: int, write: Write) -> Written | MemosError:
        try:
            (outcome,) = await shard.write(partition, [Submission(CALLER, write)])
        except LOST as error:
            return error
        return outcome


class FencingInFiles(Fencing):
    """The same on SQLite."""

    def open_store(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = InFiles.embedded(self.folder.name)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestFencing = Fencing.TestCase
TestFencing.settings = settings(max_examples=50, stateful_step_count=25)
TestFencingInFiles = FencingInFiles.TestCase
TestFencingInFiles.settings = settings(max_examples=15, stateful_step_count=25)
