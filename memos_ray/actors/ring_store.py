"""The ring in the control store: one document, replaced as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from memos_ray.core.vault.log import ControlChange
from memos_ray.core.vault.ring import Ring, build
from memos_ray.errors import ConfigurationError, StoreCorruptError, UnavailableError
from memos_ray.ports import ControlStorePort

CLUSTER = ""
_KIND = "ring"


@dataclass(frozen=True, slots=True)
class StoredRing:
    """The ring as stored.

    Attributes:
        configured: how many shards the settings asked for when they were last followed; scaling by
            hand leaves it, so that it holds until the settings say something new.
        revision: for the compare-and-set of the next change.
    """

    ring: Ring
    configured: int | None
    revision: int


class RingStore:
    """Reads and replaces the ring. Blocking."""

    def __init__(self, control: ControlStorePort) -> None:
        self._control = control

    def load(self) -> StoredRing:
        """Returns what is stored.

        Raises:
            UnavailableError: the cluster has not been booted yet.
            StoreCorruptError: it cannot be read.
        """
        record = self._control.get(CLUSTER, _KIND, _KIND)
        if record is None:
            raise UnavailableError("the cluster has no ring yet")
        try:
            body = orjson.loads(record.body)
            ring = Ring(int(body["version"]), tuple(map(str, body["owners"])))
            return StoredRing(ring, body.get("configured"), record.revision)
        except (ValueError, TypeError, KeyError):
            raise StoreCorruptError("the ring cannot be read") from None

    def load_or_build(self, names: Sequence[str], partitions: int) -> StoredRing:
        """Returns what is stored, or the first ring, which is stored by this.

        Raises:
            ConfigurationError: the data was created with another number of partitions.
            InvalidInputError: there are fewer partitions than shards.
        """
        if self._control.get(CLUSTER, _KIND, _KIND) is None:
            self.store(build(names, partitions), len(names), 0)
        stored = self.load()
        if len(stored.ring.owners) != partitions:
            raise ConfigurationError(
                "the data was created with another number of partitions",
                configured=partitions,
                found=len(stored.ring.owners),
            )
        return stored

    def store(self, ring: Ring, configured: int | None, revision: int) -> None:
        """Replaces the ring.

        Raises:
            VersionConflictError: it is not at this revision any more.
        """
        body = {"version": ring.version, "owners": ring.owners, "configured": configured}
        change = ControlChange(CLUSTER, _KIND, _KIND, orjson.dumps(body), revision)
        self._control.commit([change], [])


def load_ring(control: ControlStorePort) -> Ring:
    """Returns the ring as last stored.

    Raises:
        UnavailableError: the cluster has not been booted yet.
        StoreCorruptError: it cannot be read.
    """
    return RingStore(control).load().ring
