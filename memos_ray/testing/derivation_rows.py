"""The rows beside the memories, in dictionaries."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from memos_ray.core.vault import storable
from memos_ray.core.vault.log import Fence
from memos_ray.errors import FencedError, StoreError
from memos_ray.ports import Among, Derivation
from memos_ray.testing.partition_records import PartitionRecords


class MemoryDerivations:
    """Implements `ports.DerivationsPort`; for `MemoryRecordStore`.

    Concurrency: one lock around every method.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, PartitionRecords] = {}
        self._lock = threading.Lock()
        self._closed = False

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """See `DerivationsPort.derivations`."""
        with self._lock:
            held = self._part(partition).derivations
            rows = [held[key] for key in sorted(held) if key[1] == kind]
        if among is None:
            return rows
        names = None if among.names is None else frozenset(among.names)
        return [
            row
            for row in rows
            if row.tenant == among.tenant
            and among.namespace in (None, row.namespace)
            and (names is None or row.name in names)
        ]

    def save_derivation(self, partition: int, epoch: int, row: Derivation) -> None:
        """See `DerivationsPort.save_derivation`."""
        self.save_derivations(partition, epoch, [row])

    def save_derivations(self, partition: int, epoch: int, rows: Sequence[Derivation]) -> None:
        """See `DerivationsPort.save_derivations`."""
        for row in rows:
            storable.check_names(tenant=row.tenant, kind=row.kind, name=row.name)
            storable.check_names(namespace=row.namespace, blob=row.blob)
        with self._lock:
            held = self._held(partition, epoch).derivations
            held.update({(row.tenant, row.kind, row.name): row for row in rows})

    def forget_derivations(
        self, partition: int, epoch: int, tenant: str, kind: str, names: Sequence[str]
    ) -> None:
        """See `DerivationsPort.forget_derivations`."""
        with self._lock:
            held = self._held(partition, epoch).derivations
            for name in names:
                held.pop((tenant, kind, name), None)

    def _part(self, partition: int) -> PartitionRecords:
        if self._closed:
            raise StoreError("the store is closed")
        return self._partitions.setdefault(partition, PartitionRecords(Fence(partition, 0, "")))

    def _held(self, partition: int, epoch: int) -> PartitionRecords:
        part = self._part(partition)
        if epoch <= 0 or part.fence.epoch != epoch:
            raise FencedError("another epoch holds the partition", partition=partition, epoch=epoch)
        return part
