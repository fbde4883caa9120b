"""A control store in memory, for tests and for trying things out; nothing of it survives."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from memos_ray.core.vault import storable
from memos_ray.core.vault.log import ControlChange, ControlRecord, Event
from memos_ray.errors import VersionConflictError
from memos_ray.ports import EventQuery


class MemoryControlStore:
    """Documents and events in dictionaries. Implements `ports.ControlStorePort`.

    Concurrency: one lock around every method; a commit is all or nothing.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[str, str, str], ControlRecord] = {}
        self._events: list[Event] = []
        self._lock = threading.Lock()

    def claim(self) -> None:
        """See `ControlStorePort.claim`; nobody else can have it."""

    def load(self, tenant: str) -> list[ControlRecord]:
        """Returns all documents of a tenant."""
        with self._lock:
            return [self._records[place] for place in sorted(self._records) if place[0] == tenant]

    def get(self, tenant: str, kind: str, key: str) -> ControlRecord | None:
        """Returns one document."""
        with self._lock:
            return self._records.get((tenant, kind, key))

    def tenants(self) -> list[str]:
        """Returns the tenants that have documents."""
        with self._lock:
            return sorted({tenant for tenant, _, _ in self._records})

    def commit(self, changes: Sequence[ControlChange], events: Sequence[Event]) -> None:
        """Applies changes and events.

        Raises:
            VersionConflictError: a document is not at its expected revision; nothing was written.
            InvalidInputError: a name or log entry that no store can hold; nothing was written.
        """
        for change in changes:
            storable.check_names(tenant=change.tenant, kind=change.kind, key=change.key)
        for event in events:
            storable.check_event(event)
        with self._lock:
            records = dict(self._records)
            for change in changes:
                place = (change.tenant, change.kind, change.key)
                held = records.pop(place, None)
                revision = 0 if held is None else held.revision
                if revision != change.expected:
                    raise VersionConflictError(
                        "a document has moved on",
                        kind=change.kind,
                        key=change.key,
                        expected=change.expected,
                        found=revision,
                    )
                if change.body is not None:
                    records[place] = ControlRecord(*place, revision + 1, change.body)
            self._records = records
            first = len(self._events) + 1
            self._events.extend(
                event._replace(lsn=lsn) for lsn, event in enumerate(events, start=first)
            )

    def events(self, after: int, limit: int, query: EventQuery | None = None) -> list[Event]:
        """Returns events with an LSN above `after`, in order."""
        asked = query or EventQuery()
        with self._lock:
            found = (event for event in self._events[max(after, 0) :] if _matches(event, asked))
            return [event for event, _ in zip(found, range(limit), strict=False)]

    def close(self) -> None:
        """Does nothing; the documents stay for whoever opens the store next."""


def _matches(event: Event, query: EventQuery) -> bool:
    wanted = (
        (query.tenant, event.tenant),
        (query.namespace, event.namespace),
        (query.principal, event.principal),
        (query.operation, event.operation),
        (query.cube_id, event.cube_id),
        (query.request_id, event.request_id),
    )
    return (
        all(asked is None or asked == held for asked, held in wanted)
        and (query.since is None or query.since <= event.at)
        and (query.until is None or event.at < query.until)
    )
