"""The control store on SQL: `<folder>/control.sqlite`, or the cluster's PostgreSQL database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, delete, select, update

from memos_ray.adapters.sql import event_rows, revisions, writes
from memos_ray.adapters.sql.batching import bulk_rows
from memos_ray.adapters.sql.claim import ClusterClaim
from memos_ray.adapters.sql.engine import Database, open_server
from memos_ray.adapters.sql.files import open_home
from memos_ray.adapters.sql.schema import CONTROL, control_event, document
from memos_ray.core.vault import storable
from memos_ray.core.vault.log import ControlChange, ControlRecord, Event
from memos_ray.errors import AlreadyExistsError, VersionConflictError
from memos_ray.ports import EventQuery

_EVENTS = "events"
_ADD_EVENTS = control_event.insert()


class SqlControlStore:
    """Implements `ControlStorePort`.

    A change makes the revision `expected + 1`. Log positions are handed out in commit order,
    without gaps.

    Concurrency: every method may be called from several threads and processes at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._claim = ClusterClaim(database)

    @classmethod
    def embedded(cls, folder: Path | str) -> Self:
        """Opens `<folder>/control.sqlite`.

        Raises:
            StoreError: the file cannot be opened, is damaged, full or of a newer version.
        """
        return cls(open_home(Path(folder), "control"))

    @classmethod
    def clustered(cls, url: str) -> Self:
        """Opens a store in a PostgreSQL database, the same as the record store's.

        Raises:
            ConfigurationError: the URL cannot be used.
            UnavailableError: the server cannot be reached.
            StoreVersionError: the database holds something else, or is of a newer version.
        """
        return cls(revisions.prepare(open_server(url), revisions.CLUSTER))

    def claim(self) -> None:
        """See `ControlStorePort.claim`; a SQLite file is guarded by its folder's lock."""
        self._claim.take()

    def load(self, tenant: str) -> list[ControlRecord]:
        """See `ControlStorePort.load`; ordered by kind and key."""
        statement = (
            select(document)
            .where(document.c.tenant == tenant)
            .order_by(document.c.kind, document.c.key)
        )
        with self._database.read() as connection:
            return [ControlRecord(*row) for row in connection.execute(statement)]

    def get(self, tenant: str, kind: str, key: str) -> ControlRecord | None:
        """See `ControlStorePort.get`."""
        statement = select(document).where(
            document.c.tenant == tenant, document.c.kind == kind, document.c.key == key
        )
        with self._database.read() as connection:
            row = connection.execute(statement).first()
        return None if row is None else ControlRecord(*row)

    def tenants(self) -> list[str]:
        """See `ControlStorePort.tenants`; in order."""
        statement = select(document.c.tenant).distinct().order_by(document.c.tenant)
        with self._database.read() as connection:
            return list(connection.execute(statement).scalars())

    def commit(self, changes: Sequence[ControlChange], events: Sequence[Event]) -> None:
        """See `ControlStorePort.commit`.

        Raises:
            InvalidInputError: a name or log entry that no store can hold; nothing was written.
        """
        for change in changes:
            storable.check_names(tenant=change.tenant, kind=change.kind, key=change.key)

        def apply(connection: Connection) -> None:
            # First, so that commits take their row locks one after the other.
            first = writes.next_numbers(connection, CONTROL, _EVENTS, len(events))
            for change in changes:
                _apply(connection, change)
            if events:
                told = event_rows.event_rows(None, enumerate(events, first))
                bulk_rows(connection, _ADD_EVENTS, tuple(control_event.c.keys()), told)

        try:
            self._database.transact(apply)
        except AlreadyExistsError:
            raise VersionConflictError("a document that should be absent is there") from None

    def events(self, after: int, limit: int, query: EventQuery | None = None) -> list[Event]:
        """See `ControlStorePort.events`."""
        statement = (
            select(control_event)
            .where(control_event.c.lsn > after, *event_rows.event_conditions(control_event, query))
            .order_by(control_event.c.lsn)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [event_rows.event_of(row) for row in connection.execute(statement)]

    def close(self) -> None:
        """See `ControlStorePort.close`."""
        self._claim.release()
        self._database.close()


def _apply(connection: Connection, change: ControlChange) -> None:
    at = (
        document.c.tenant == change.tenant,
        document.c.kind == change.kind,
        document.c.key == change.key,
        document.c.revision == change.expected,
    )
    if change.expected > 0:
        done = connection.execute(
            delete(document).where(*at)
            if change.body is None
            else update(document).where(*at).values(revision=change.expected + 1, body=change.body)
        )
        applied = done.rowcount == 1
    elif change.body is not None:
        values = {"tenant": change.tenant, "kind": change.kind, "key": change.key}
        connection.execute(document.insert().values(**values, revision=1, body=change.body))
        applied = True
    else:
        applied = _absent(connection, change)
    if not applied:
        raise VersionConflictError(
            "the document is not at the expected revision",
            kind=change.kind,
            key=change.key,
            expected=change.expected,
        )


def _absent(connection: Connection, change: ControlChange) -> bool:
    there = select(document.c.revision).where(
        document.c.tenant == change.tenant,
        document.c.kind == change.kind,
        document.c.key == change.key,
    )
    return connection.execute(there).first() is None
