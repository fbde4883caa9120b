"""The rows beside the memories, on SQL."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from memos_ray.adapters.sql import reads, rows, writes
from memos_ray.adapters.sql.databases import Databases
from memos_ray.core.vault import storable
from memos_ray.ports import Among, Derivation


class SqlDerivations(Databases):
    """Implements `DerivationsPort`; for `SqlRecordStore`."""

    def derivations(
        self, partition: int, kind: str, among: Among | None = None
    ) -> list[Derivation]:
        """See `DerivationsPort.derivations`."""
        storable.check_texts(kind=kind)
        parts = reads.derivations_of(partition, kind, among)
        found = [row for part in parts for row in self._rows(partition, part, {})]
        return [rows.derivation_of(row) for row in found]

    def save_derivation(self, partition: int, epoch: int, row: Derivation) -> None:
        """See `DerivationsPort.save_derivation`."""
        self.save_derivations(partition, epoch, [row])

    def save_derivations(self, partition: int, epoch: int, rows: Sequence[Derivation]) -> None:
        """See `DerivationsPort.save_derivations`."""

        def save(connection: Connection) -> None:
            writes.hold(connection, partition, epoch)
            for row in rows:
                writes.save_derivation(connection, partition, row)

        self._transact(partition, save)

    def forget_derivations(
        self, partition: int, epoch: int, tenant: str, kind: str, names: Sequence[str]
    ) -> None:
        """See `DerivationsPort.forget_derivations`."""

        def forget(connection: Connection) -> None:
            writes.hold(connection, partition, epoch)
            writes.forget_derivations(connection, partition, tenant, kind, names)

        self._transact(partition, forget)
