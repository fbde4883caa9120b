"""A crew without processes: what a supervisor can do to it, and what can happen to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from memos_ray.core.vault.requests import ShardStatus
from memos_ray.errors import MemosError, UnavailableError
from memos_ray.ports import PartitionOwnerPort


@dataclass
class PlainShard:
    """Owns partitions and says so. Implements `ports.PartitionOwnerPort`.

    Attributes:
        fences: newest epoch by partition, common to all shards: whoever takes last holds it.
        called: told of each call first; may raise.
        away: raised by every call while it is set.
    """

    name: str
    fences: dict[int, int]
    called: Callable[[str], None]
    epochs: dict[int, int] = field(default_factory=dict)
    away: MemosError | None = None

    @property
    def held(self) -> set[int]:
        """What it could commit to."""
        return {p for p, epoch in self.epochs.items() if self.fences[p] == epoch}

    async def own(self, partitions: Sequence[int]) -> None:
        """See `PartitionOwnerPort.own`."""
        self._answer("own")
        for partition in partitions:
            if partition not in self.epochs:
                self.fences[partition] = self.fences.get(partition, 0) + 1
                self.epochs[partition] = self.fences[partition]

    async def disown(self, partitions: Sequence[int]) -> None:
        """See `PartitionOwnerPort.disown`."""
        self._answer("disown")
        for partition in partitions:
            self.epochs.pop(partition, None)

    async def status(self) -> ShardStatus:
        """See `PartitionOwnerPort.status`."""
        self._answer("status")
        return ShardStatus(self.name, 1, dict(self.epochs), 0, {}, {}, 0, 0, 0, 0, "off", {})

    def _answer(self, verb: str) -> None:
        self.called(f"{verb} {self.name}")
        if self.away is not None:
            raise self.away


@dataclass
class PlainCrew:
    """Implements `ports.CrewPort` for a supervisor's tests.

    Attributes:
        calls: what was asked for, in order.
        before: called with each of them first; may raise.
        stillborn: shards that do not come up.
    """

    shards: dict[str, PlainShard] = field(default_factory=dict)
    fences: dict[int, int] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda call: None
    stillborn: set[str] = field(default_factory=set)

    async def start_governance(self) -> None:
        """See `CrewPort.start_governance`."""
        self._called("start governance")

    async def start_shard(self, name: str) -> None:
        """See `CrewPort.start_shard`."""
        self._called(f"start {name}")
        if name not in self.stillborn and name not in self.shards:
            self.shards[name] = PlainShard(name, self.fences, self._called)

    async def running_shards(self) -> list[str]:
        """See `CrewPort.running_shards`."""
        self._called("list")
        return list(self.shards)

    async def stop_shard(self, name: str) -> None:
        """See `CrewPort.stop_shard`."""
        self._called(f"stop {name}")
        self.shards.pop(name, None)

    def shard(self, name: str) -> PartitionOwnerPort:
        """See `CrewPort.shard`."""
        away = UnavailableError("the actor is away", actor=name)
        return self.shards.get(name) or PlainShard(name, {}, self._called, away=away)

    def die(self, name: str) -> None:
        """Ends a shard's process; it is started again, by whoever asks, with nothing in hand."""
        del self.shards[name]

    def _called(self, call: str) -> None:
        self.calls.append(call)
        self.before(call)
