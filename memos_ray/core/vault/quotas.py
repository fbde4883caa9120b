"""How much text namespaces may hold (VAULT-1). Pure.

What counts is the UTF-8 length of the newest version of each memory that is not deleted, archived
and expired ones included, which is what `RecordStorePort.size` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.payload import ArchivedRef
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import QuotaExceededError

Place = tuple[str, str]
"""A tenant and one of its namespaces."""

Measure = Callable[[str, str], int]
"""Tells how many bytes of text a tenant's namespace holds at rest."""

Weight = Callable[[], int | None]
"""Tells what a version counts for, in bytes; nothing when that cannot be known."""


class QuotaRulesPort(Protocol):
    """The quotas of tenants, as planning needs them."""

    def quota_bytes(self, tenant: str, namespace: str) -> int | None:
        """Returns most bytes of text that a namespace may hold; nothing when there is no limit."""
        ...


@dataclass(slots=True)
class Quotas:
    """Weighs the writes of one transaction. Whatever is refused has no effect on those behind it.

    Attributes:
        known: sizes before the transaction; what is measured is added to them.
        absent: heads that the store does not hold: what branches take over.
    """

    rules: QuotaRulesPort
    measure: Measure
    known: dict[Place, int] = field(default_factory=dict)
    absent: set[CubeKey] = field(default_factory=set)
    grown: dict[Place, int] = field(default_factory=dict)
    doubtful: set[Place] = field(default_factory=set)

    def weigh(
        self, key: CubeKey, namespace: str, before: Weight, after: Weight, *, by_age: bool = False
    ) -> None:
        """Takes a new version into account, or refuses it.

        Args:
            before: of the version that there is.
            after: of the one that takes its place.
            by_age: it comes of age alone, which makes no namespace grow: no policy is asked, since
                memories age while there is none.

        Raises:
            QuotaExceededError: the namespace would grow, and hold more than it may.
        """
        place = (key.tenant, namespace)
        quota = None if by_age else self.rules.quota_bytes(*place)
        if quota is None and not (by_age and place in self.known):
            # Nobody counts here; a limit that is set later begins with a look.
            self.doubtful.add(place)
            return
        was = 0 if key in self.absent else before()
        new = after()
        if was is None or new is None:
            # Content that is away is only ever erased.
            self.doubtful.add(place)
            return
        growth = new - was
        if growth > 0 and quota is not None:
            used = self._used(place)
            if used + growth > quota:
                raise QuotaExceededError(
                    "the namespace has no room for that",
                    namespace=namespace,
                    quota_bytes=quota,
                    used_bytes=used,
                    needed_bytes=growth,
                )
        self.absent.discard(key)
        self.grown[place] = self.grown.get(place, 0) + growth

    def _used(self, place: Place) -> int:
        if place not in self.known:
            self.known[place] = self.measure(*place)
        return self.known[place] + self.grown.get(place, 0)


class Sizes:
    """The sizes of namespaces that have a quota, between the transactions of one writer.

    Invariant: they are true at one position of the log, and forgotten at any other. So whatever
    this writer has not counted itself, such as a commit whose outcome it does not know, has them
    measured anew.

    Complexity: one integer for each namespace with a quota that was written to; one sum over the
    namespace when there is none.

    Concurrency: one transaction at a time.
    """

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._known: dict[Place, int] = {}
        self._lsn: int | None = None

    def begin(self, rules: QuotaRulesPort, last_lsn: int, absent: Iterable[CubeKey] = ()) -> Quotas:
        """Returns what weighs the writes of the transaction behind `last_lsn`."""
        if self._lsn != last_lsn:
            self._known.clear()
            self._lsn = last_lsn
        return Quotas(rules, self._measure, self._known, set(absent))

    def done(self, quotas: Quotas, lsn: int) -> None:
        """Hears that a transaction is durable, up to `lsn`, and all that was weighed in it."""
        for place, growth in quotas.grown.items():
            if place in self._known:
                self._known[place] += growth
        for place in quotas.doubtful:
            self._known.pop(place, None)
        self._lsn = lsn

    def stand(self, lsn: int) -> None:
        """Hears that a transaction is durable that has changed no memory."""
        self._lsn = lsn

    def forget(self) -> None:
        """Hears that nobody knows what has become of a transaction."""
        self._known.clear()
        self._lsn = None


def weight(cube: MemCube | None) -> int | None:
    """Returns what a version counts for, in bytes; nothing when its content is away."""
    if cube is None or cube.state is State.DELETED:
        return 0
    return None if isinstance(cube.payload, ArchivedRef) else len(cube.text.encode())
