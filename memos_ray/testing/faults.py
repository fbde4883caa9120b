"""Deterministic faults in front of a record store: the failures that a disk or network would make.

A fault names a method, which of its calls it strikes, and when. After the effect is the hard case:
the caller sees an error, and the data is there. Later still is the hardest: a server that has lost
its client goes on with the commit, and the data comes to be there while the caller looks.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.sweeping import Sieve
from memos_ray.core.vault.log import Commit, CubeKey, Event, Fence, Reply, Resting, UsageDelta
from memos_ray.core.vault.remnants import Remnant
from memos_ray.errors import MemosError
from memos_ray.ports import (
    Among,
    Damaged,
    Derivation,
    EventQuery,
    NamespaceSize,
    RecordStorePort,
    Sifted,
    StoredVectors,
)

_T = TypeVar("_T")


class Moment(StrEnum):
    """When the error comes, relative to the effect of the call.

    `BEFORE`: there is no effect. `AFTER`: there is. `EARLY`: there is once `land` is called.
    """

    BEFORE = "before"
    AFTER = "after"
    EARLY = "early"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        method: name of the port's method.
        call: which call of that method, from 1.
        error: what is raised.
        hangs: the call first waits until `FaultyRecordStore.release`.
    """

    method: str
    call: int
    error: MemosError
    moment: Moment = Moment.BEFORE
    hangs: bool = False


@dataclass(slots=True)
class FaultPlan:
    """Which calls fail: those listed, and a share of the others.

    Attributes:
        share: probability of a fault in each call of `methods` that no fault is listed for, drawn
            from `seed`: equal calls in equal order fail alike in every run.
        make_error: makes the error of a drawn fault.
    """

    faults: Sequence[Fault] = ()
    share: float = 0.0
    methods: frozenset[str] = frozenset({"commit"})
    make_error: Callable[[], MemosError] | None = None
    seed: int = 0
    _dice: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def fault(self, method: str, call: int) -> Fault | None:
        """Returns the fault of a call, if any; ask once for each call, in order."""
        for fault in self.faults:
            if (fault.method, fault.call) == (method, call):
                return fault
        if self.make_error is None or method not in self.methods:
            return None
        strikes, after = self._dice.random() < self.share, self._dice.random() < 0.5
        moment = Moment.AFTER if after else Moment.BEFORE
        return Fault(method, call, self.make_error(), moment) if strikes else None


class FaultyRecordStore:
    """Implements `ports.RecordStorePort` on top of another store, with faults.

    `calls` counts the calls of each method, the failed ones included. The iterators of `as_of` and
    `load` fail at their first row, or (after the effect) behind their last.
    """

    def __init__(self, store: RecordStorePort, plan: FaultPlan) -> None:
        self.calls: Counter[str] = Counter()
        self.struck: list[Fault] = []
        self._store = store
        self._plan = plan
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._late: list[Callable[[], object]] = []

    def release(self) -> None:
        """Lets the calls that hang, now and later, go on to their errors."""
        self._released.set()

    def land(self) -> None:
        """Lets the effects happen that came too late for their callers, in order.

        Raises:
            MemosError: the store refuses one by now; the rest is dropped.
        """
        late, self._late = self._late, []
        for effect in late:
            effect()

    def fence(self, partition: int) -> Fence:
        """See `RecordStorePort.fence`."""
        return self._call("fence", lambda: self._store.fence(partition))

    def take(self, partition: int, owner: str, epoch: int) -> None:
        """See `RecordStorePort.take`."""
        self._call("take", lambda: self._store.take(partition, owner, epoch))

    def last_lsn(self, partition: int) -> int:
        """See `RecordStorePort.last_lsn`."""
        return self._call("last_lsn", lambda: self._store.last_lsn(partition))

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`."""
        self._call("commit", lambda: self._store.commit(commit))

    def heads(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, MemCube]:
        """See `RecordStorePort.heads`."""
        return self._call("heads", lambda: self._store.heads(partition, keys))

    def resting(self, partition: int, keys: Sequence[CubeKey]) -> list[Resting]:
        """See `RecordStorePort.resting`."""
        return self._call("resting", lambda: self._store.resting(partition, keys))

    def remnants(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, Remnant]:
        """See `RecordStorePort.remnants`."""
        return self._call("remnants", lambda: self._store.remnants(partition, keys))

    def replies(
        self, partition: int, tenant: str, scope: str, keys: Sequence[str]
    ) -> dict[str, Reply]:
        """See `RecordStorePort.replies`."""
        return self._call("replies", lambda: self._store.replies(partition, tenant, scope, keys))

    def versions(self, partition: int, key: CubeKey, before: int, limit: int) -> list[VersionInfo]:
        """See `RecordStorePort.versions`."""
        return self._call("versions", lambda: self._store.versions(partition, key, before, limit))

    def version(self, partition: int, key: CubeKey, number: int) -> MemCube | None:
        """See `RecordStorePort.version`."""
        return self._call("version", lambda: self._store.version(partition, key, number))

    def scan(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        predicate: Predicate,
        after: tuple[int, str] | None,
        limit: int,
        damaged: Damaged | None = None,
    ) -> list[MemCube]:
        """See `RecordStorePort.scan`."""
        place = partition, tenant, namespace
        return self._call(
            "scan", lambda: self._store.scan(*place, predicate, after, limit, damaged)
        )

    def sift(
        self, partition: int, after: CubeKey | None, limit: int, most: int, sieve: Sieve
    ) -> Sifted:
        """See `RecordStorePort.sift`."""
        return self._call("sift", lambda: self._store.sift(partition, after, limit, most, sieve))

    def histories(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, list[MemCube]]:
        """See `RecordStorePort.histories`."""
        return self._call("histories", lambda: self._store.histories(partition, keys))

    def bodies(
        self, partition: int, keys: Sequence[CubeKey], state: State | None = None
    ) -> list[StoredVersion]:
        """See `RecordStorePort.bodies`."""
        return self._call("bodies", lambda: self._store.bodies(partition, keys, state))

    def stow(self, partition: int, epoch: int, versions: Sequence[StoredVersion]) -> None:
        """See `RecordStorePort.stow`."""
        self._call("stow", lambda: self._store.stow(partition, epoch, versions))

    def as_of(
        self, partition: int, tenant: str, namespace: str, at: datetime, space: str
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """See `RecordStorePort.as_of`."""
        return self._walk(
            "as_of", lambda: self._store.as_of(partition, tenant, namespace, at, space)
        )

    def load(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        space: str,
        damaged: Damaged | None = None,
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """See `RecordStorePort.load`."""
        place = partition, tenant, namespace, space
        return self._walk("load", lambda: self._store.load(*place, damaged))

    def vectors(
        self, partition: int, keys: Sequence[CubeKey], space: str
    ) -> dict[CubeKey, StoredVectors]:
        """See `RecordStorePort.vectors`."""
        return self._call("vectors", lambda: self._store.vectors(partition, keys, space))

    def save_vectors(self, partition: int, epoch: int, rows: Sequence[StoredVectors]) -> None:
        """See `RecordStorePort.save_vectors`."""
        self._call("save_vectors", lambda: self._store.save_vectors(partition, epoch, rows))

    def derived(
        self, partition: int, tenant: str, cube_id: str, after: str, limit: int
    ) -> list[str]:
        """See `RecordStorePort.derived`."""
        return self._call(
            "derived", lambda: self._store.derived(partition, tenant, cube_id, after, limit)
        )

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """See `DerivationsPort.derivations`."""
        return self._call("derivations", lambda: self._store.derivations(partition, kind, among))

    def save_derivation(self, partition: int, epoch: int, row: Derivation) -> None:
        """See `DerivationsPort.save_derivation`."""
        self._call("save_derivation", lambda: self._store.save_derivation(partition, epoch, row))

    def save_derivations(self, partition: int, epoch: int, rows: Sequence[Derivation]) -> None:
        """See `DerivationsPort.save_derivations`."""
        self._call("save_derivations", lambda: self._store.save_derivations(partition, epoch, rows))

    def forget_derivations(
        self, partition: int, epoch: int, tenant: str, kind: str, names: Sequence[str]
    ) -> None:
        """See `DerivationsPort.forget_derivations`."""
        self._call(
            "forget_derivations",
            lambda: self._store.forget_derivations(partition, epoch, tenant, kind, names),
        )

    def cursor(self, partition: int, name: str) -> int:
        """See `RecordStorePort.cursor`."""
        return self._call("cursor", lambda: self._store.cursor(partition, name))

    def advance(self, partition: int, epoch: int, name: str, lsn: int) -> None:
        """See `RecordStorePort.advance`."""
        self._call("advance", lambda: self._store.advance(partition, epoch, name, lsn))

    def events(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """See `RecordStorePort.events`."""
        return self._call("events", lambda: self._store.events(partition, after, limit, query))

    def log_position(self, partition: int, at: datetime, *, reads: bool) -> int:
        """See `RecordStorePort.log_position`."""
        return self._call(
            "log_position", lambda: self._store.log_position(partition, at, reads=reads)
        )

    def add_usage(self, partition: int, epoch: int, deltas: Sequence[UsageDelta]) -> None:
        """See `RecordStorePort.add_usage`."""
        self._call("add_usage", lambda: self._store.add_usage(partition, epoch, deltas))

    def add_accesses(self, partition: int, accesses: Sequence[Event]) -> None:
        """See `RecordStorePort.add_accesses`."""
        self._call("add_accesses", lambda: self._store.add_accesses(partition, accesses))

    def accesses(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """See `RecordStorePort.accesses`."""
        return self._call("accesses", lambda: self._store.accesses(partition, after, limit, query))

    def namespaces(self, partition: int) -> list[NamespaceSize]:
        """See `RecordStorePort.namespaces`."""
        return self._call("namespaces", lambda: self._store.namespaces(partition))

    def size(self, partition: int, tenant: str, namespace: str) -> NamespaceSize:
        """See `RecordStorePort.size`."""
        return self._call("size", lambda: self._store.size(partition, tenant, namespace))

    def forget_replies(self, partition: int, epoch: int, before: datetime) -> int:
        """See `RecordStorePort.forget_replies`."""
        return self._call(
            "forget_replies", lambda: self._store.forget_replies(partition, epoch, before)
        )

    def check(self) -> list[str]:
        """See `RecordStorePort.check`."""
        return self._call("check", self._store.check)

    def close(self) -> None:
        """See `RecordStorePort.close`."""
        self._call("close", self._store.close)

    def _call(self, method: str, effect: Callable[[], _T]) -> _T:
        fault = self._next(method)
        if fault is None:
            return effect()
        if fault.moment is Moment.AFTER:
            effect()
        elif fault.moment is Moment.EARLY:
            self._late.append(effect)
        raise self._strike(fault)

    def _walk(self, method: str, effect: Callable[[], Iterator[_T]]) -> Iterator[_T]:
        fault = self._next(method)
        if fault is not None and fault.moment is not Moment.AFTER:
            raise self._strike(fault)
        yield from effect()
        if fault is not None:
            raise self._strike(fault)

    def _next(self, method: str) -> Fault | None:
        with self._lock:
            self.calls[method] += 1
            return self._plan.fault(method, self.calls[method])

    def _strike(self, fault: Fault) -> MemosError:
        if fault.hangs:
            self._released.wait()
        with self._lock:
            self.struck.append(fault)
        return fault.error
