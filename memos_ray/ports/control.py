"""The documents of the control plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memos_ray.core.vault.log import ControlChange, ControlRecord, Event
from memos_ray.ports.records import EventQuery


class ControlStorePort(Protocol):
    """Durable documents of the control plane with compare-and-set, and their audit events."""

    def claim(self) -> None:
        """Makes the cluster of this process the only one on the store, or sees that it still is.

        The claim ends with `close` and with the process. Stores of one cluster share it: only the
        one that the supervisor works with takes it.

        Raises:
            DatabaseInUseError: another cluster runs on it.
            UnavailableError: the store cannot be reached.
        """
        ...

    def load(self, tenant: str) -> list[ControlRecord]:
        """Returns all documents of a tenant; the empty tenant holds the cluster's own."""
        ...

    def get(self, tenant: str, kind: str, key: str) -> ControlRecord | None:
        """Returns one document."""
        ...

    def tenants(self) -> list[str]:
        """Returns the tenants that have documents."""
        ...

    def commit(self, changes: Sequence[ControlChange], events: Sequence[Event]) -> None:
        """Applies all changes with their audit events in one transaction.

        Raises:
            VersionConflictError: a document is not at its expected revision; nothing was written.
        """
        ...

    def events(self, after: int, limit: int, query: EventQuery | None = None) -> list[Event]:
        """Returns control events with an LSN above `after`, in order; LSNs are assigned here."""
        ...

    def close(self) -> None:
        """Releases connections."""
        ...
