"""The record store on SQL: embedded SQLite, one file a partition, or one PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Table, func, select

from memos_ray.adapters.sql import ages, checks, event_rows, reads, revisions, rows, writes
from memos_ray.adapters.sql.batching import in_chunks, look_up
from memos_ray.adapters.sql.derivations import SqlDerivations
from memos_ray.adapters.sql.engine import Database, open_server
from memos_ray.adapters.sql.files import open_home
from memos_ray.adapters.sql.predicates import value_hash
from memos_ray.adapters.sql.remnants import left_of
from memos_ray.adapters.sql.rows import AnyRow
from memos_ray.adapters.sql.schema import access, event
from memos_ray.core.cube.cube import MemCube, State, VersionInfo
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import Predicate
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.sweeping import Sieve
from memos_ray.core.vault import storable
from memos_ray.core.vault.log import Commit, CubeKey, Event, Fence, Reply, Resting, UsageDelta
from memos_ray.core.vault.remnants import Remnant
from memos_ray.errors import StoreError
from memos_ray.ports import (
    ContentsPort,
    Damaged,
    EventQuery,
    NamespaceSize,
    Sifted,
    StoredVectors,
)


class SqlRecordStore(SqlDerivations):
    """Implements `RecordStorePort`.

    Concurrency: every method may be called from several threads at once. Reads never wait for
    writes; writes to one partition queue up, those to different partitions run side by side.

    Durability: a commit that has returned is on disk (SQLite: write-ahead log flushed; PostgreSQL:
    `synchronous_commit` is never `off`). After `UnavailableError` a commit may or may not have
    happened, which `last_lsn` tells.

    Erasure: SQLite overwrites what is freed, and the write-ahead log is emptied after each erasure,
    as soon as no reader bars it. PostgreSQL keeps dead rows until autovacuum has passed.
    """

    def __init__(
        self,
        opened: Callable[[int], Database],
        folder: Path | None = None,
        contents: ContentsPort | None = None,
    ) -> None:
        super().__init__(opened)
        self._fill = contents.fill if contents else _as_stored
        self._fill_body = contents.fill_body if contents else bytes
        self._folder = folder

    @classmethod
    def embedded(cls, folder: Path | str, contents: ContentsPort | None = None) -> Self:
        """Opens a store of SQLite files `<folder>/p0007.sqlite`, each made at its first use."""
        root = Path(folder)

        return cls(lambda partition: open_home(root, f"p{partition:04}"), root, contents)

    @classmethod
    def clustered(cls, url: str, contents: ContentsPort | None = None) -> Self:
        """Opens a store in a PostgreSQL database that holds nothing else.

        Raises:
            ConfigurationError: the URL cannot be used.
            UnavailableError: the server cannot be reached.
            StoreVersionError: the database holds something else, or is of a newer version.
        """
        database = revisions.prepare(open_server(url), revisions.CLUSTER)
        store = cls(lambda partition: database, None, contents)
        # It is open from now on, so `close` must know it.
        store._database(0)
        return store

    def fence(self, partition: int) -> Fence:
        """See `RecordStorePort.fence`."""
        row = self._row(partition, reads.FENCE, {"p": partition})
        return Fence(partition, 0, "") if row is None else Fence(partition, row.epoch, row.owner)

    def take(self, partition: int, owner: str, epoch: int) -> None:
        """See `RecordStorePort.take`."""
        self._transact(
            partition, lambda connection: writes.take(connection, partition, owner, epoch)
        )

    def last_lsn(self, partition: int) -> int:
        """See `RecordStorePort.last_lsn`."""
        row = self._row(partition, reads.FENCE, {"p": partition})
        return 0 if row is None else int(row.lsn)

    def commit(self, commit: Commit) -> None:
        """See `RecordStorePort.commit`.

        Raises:
            InvalidInputError: a field that no store can hold, see `core.vault.storable`; nothing
                was written.
            UnavailableError: the store did not answer; the commit may have happened.
        """
        self._transact(commit.partition, lambda connection: writes.apply(connection, commit))
        self._scrub(commit.partition, erased=bool(commit.erased))

    def heads(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, MemCube]:
        """See `RecordStorePort.heads`."""
        found: list[Sequence[Any]] = []
        with self._database(partition).read() as connection:
            for tenant, ids in in_chunks(keys):
                values = {"p": partition, "t": tenant}
                found.extend(look_up(connection, reads.HEADS, values, ids))
        return {CubeKey(row[0], row[1]): self._fill(rows.head_of(row)) for row in found}

    def resting(self, partition: int, keys: Sequence[CubeKey]) -> list[Resting]:
        """See `RecordStorePort.resting`."""
        found: list[Resting] = []
        with self._database(partition).read() as connection:
            for tenant, ids in in_chunks(keys):
                values = {"p": partition, "t": tenant}
                for row in look_up(connection, reads.RESTING, values, ids):
                    cube_id, namespace, number, state, frozen, sketch, body = row
                    key, whole = CubeKey(tenant, cube_id), self._fill_body(body)
                    one = Resting(key, namespace, number, state, bool(frozen), sketch, whole)
                    found.append(one)
        return found

    def remnants(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, Remnant]:
        """See `RecordStorePort.remnants`."""
        with self._database(partition).read() as connection:
            return left_of(connection, partition, keys)

    def replies(
        self, partition: int, tenant: str, scope: str, keys: Sequence[str]
    ) -> dict[str, Reply]:
        """See `RecordStorePort.replies`."""
        found: dict[str, Reply] = {}
        with self._database(partition).read() as connection:
            for _, part in in_chunks(CubeKey(tenant, key) for key in keys):
                values = {"p": partition, "t": tenant, "s": scope, "keys": part}
                for row in connection.execute(reads.REPLIES, values):
                    found[row.key] = rows.reply_of(row)
        return found

    def versions(self, partition: int, key: CubeKey, before: int, limit: int) -> list[VersionInfo]:
        """See `RecordStorePort.versions`."""
        values = {"p": partition, "t": key.tenant, "i": key.id, "before": before, "limit": limit}
        return [rows.version_info(row) for row in self._rows(partition, reads.VERSIONS, values)]

    def version(self, partition: int, key: CubeKey, number: int) -> MemCube | None:
        """See `RecordStorePort.version`."""
        values = {"p": partition, "t": key.tenant, "i": key.id, "n": number}
        row = self._row(partition, reads.VERSION, values)
        return None if row is None else self._fill(decode(row.body, lsn=row.lsn))

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
        found: list[MemCube] = []
        place = partition, tenant, namespace, predicate
        while True:
            wanted = limit - len(found)
            with self._database(partition).read() as connection:
                page = reads.scan(connection, *place, after, wanted)
            found += [self._fill(cube) for cube, _ in rows.readable(page, damaged)]
            if len(page) < wanted or len(found) >= limit:
                return found
            after = page[-1].created_at, page[-1].id

    def sift(
        self, partition: int, after: CubeKey | None, limit: int, most: int, sieve: Sieve
    ) -> Sifted:
        """See `RecordStorePort.sift`."""
        with self._database(partition).read() as connection:
            return ages.sift(connection, partition, after, limit, most, sieve)

    def histories(self, partition: int, keys: Sequence[CubeKey]) -> dict[CubeKey, list[MemCube]]:
        """See `RecordStorePort.histories`."""
        found: dict[CubeKey, list[MemCube]] = {}
        with self._database(partition).read() as connection:
            for tenant, ids in in_chunks(keys):
                values = {"p": partition, "t": tenant, "ids": ids}
                for row in connection.execute(reads.HISTORIES, values):
                    cube = decode(row.body, lsn=row.lsn)
                    found.setdefault(CubeKey(tenant, row.cube_id), []).append(cube)
        return found

    def bodies(
        self, partition: int, keys: Sequence[CubeKey], state: State | None = None
    ) -> list[StoredVersion]:
        """See `RecordStorePort.bodies`."""
        with self._database(partition).read() as connection:
            return list(reads.bodies(connection, partition, keys, state))

    def stow(self, partition: int, epoch: int, versions: Sequence[StoredVersion]) -> None:
        """See `RecordStorePort.stow`."""

        def stow(connection: Connection) -> None:
            writes.hold(connection, partition, epoch)
            writes.stow(connection, partition, versions)

        self._transact(partition, stow)

    def as_of(
        self, partition: int, tenant: str, namespace: str, at: datetime, space: str
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """See `RecordStorePort.as_of`."""
        values = {"t": tenant, "ns": namespace, "space": space, "moment": to_micros(at)}
        for row in self._pages(partition, reads.AS_OF, values):
            yield self._fill(decode(row.body, lsn=row.lsn)), _vectors(row)

    def load(
        self,
        partition: int,
        tenant: str,
        namespace: str,
        space: str,
        damaged: Damaged | None = None,
    ) -> Iterator[tuple[MemCube, StoredVectors | None]]:
        """See `RecordStorePort.load`."""
        values = {"t": tenant, "ns": namespace, "space": space}
        found = self._pages(partition, reads.LOAD, values)
        for cube, row in rows.readable(found, damaged):
            yield self._fill(cube), _vectors(row)

    def vectors(
        self, partition: int, keys: Sequence[CubeKey], space: str
    ) -> dict[CubeKey, StoredVectors]:
        """See `RecordStorePort.vectors`."""
        found: dict[CubeKey, StoredVectors] = {}
        with self._database(partition).read() as connection:
            for tenant, ids in in_chunks(keys):
                values = {"p": partition, "t": tenant, "ids": ids, "space": space}
                for row in connection.execute(reads.VECTORS, values):
                    key = CubeKey(tenant, row.cube_id)
                    found[key] = rows.vectors_of(row, key)
        return found

    def save_vectors(self, partition: int, epoch: int, rows: Sequence[StoredVectors]) -> None:
        """See `RecordStorePort.save_vectors`; rows of versions that are not there are skipped."""

        def save(connection: Connection) -> None:
            writes.hold(connection, partition, epoch)
            writes.save_vectors(connection, partition, rows)

        self._transact(partition, save)

    def derived(
        self, partition: int, tenant: str, cube_id: str, after: str, limit: int
    ) -> list[str]:
        """See `RecordStorePort.derived`."""
        storable.check_texts(tenant=tenant, cube_id=cube_id, after=after)
        place = {"p": partition, "t": tenant, "n": rows.SOURCE, "s": cube_id}
        window = {"h": value_hash(cube_id), "after": after, "limit": limit}
        found = self._rows(partition, reads.DERIVED, place | window)
        return [row.cube_id for row in found]

    def cursor(self, partition: int, name: str) -> int:
        """See `RecordStorePort.cursor`."""
        row = self._row(partition, reads.CURSOR, {"p": partition, "n": name})
        return 0 if row is None else int(row.lsn)

    def advance(self, partition: int, epoch: int, name: str, lsn: int) -> None:
        """See `RecordStorePort.advance`."""

        def move(connection: Connection) -> None:
            writes.hold(connection, partition, epoch)
            writes.advance(connection, partition, name, lsn)

        self._transact(partition, move)

    def events(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """See `RecordStorePort.events`."""
        return self._log(event, partition, after, limit, query)

    def log_position(self, partition: int, at: datetime, *, reads: bool) -> int:
        """See `RecordStorePort.log_position`."""
        table = access if reads else event
        first = (
            select(table.c.lsn)
            .where(table.c.partition == partition, table.c.at >= to_micros(at))
            .order_by(table.c.at, table.c.lsn)
            .limit(1)
        )
        row = self._row(partition, first, {})
        if row is not None:
            return int(row.lsn) - 1
        last = select(func.max(table.c.lsn)).where(table.c.partition == partition)
        newest = self._row(partition, last, {})
        return int(newest[0] or 0) if newest is not None else 0

    def add_usage(self, partition: int, epoch: int, deltas: Sequence[UsageDelta]) -> None:
        """See `RecordStorePort.add_usage`."""

        def add(connection: Connection) -> None:
            writes.hold(connection, partition, epoch)
            writes.add_usage(connection, partition, deltas)

        self._transact(partition, add)

    def add_accesses(self, partition: int, accesses: Sequence[Event]) -> None:
        """See `RecordStorePort.add_accesses`."""
        if accesses:
            self._transact(
                partition,
                lambda connection: writes.add_accesses(connection, partition, accesses),
            )

    def accesses(
        self, partition: int, after: int, limit: int, query: EventQuery | None = None
    ) -> list[Event]:
        """See `RecordStorePort.accesses`."""
        return self._log(access, partition, after, limit, query)

    def namespaces(self, partition: int) -> list[NamespaceSize]:
        """See `RecordStorePort.namespaces`; one with nothing but deleted cubes counts none."""
        return [
            NamespaceSize(row.tenant, row.namespace, int(row.cubes), int(row.text_bytes))
            for row in self._rows(partition, reads.NAMESPACES, {"p": partition})
        ]

    def size(self, partition: int, tenant: str, namespace: str) -> NamespaceSize:
        """See `RecordStorePort.size`."""
        values = {"p": partition, "t": tenant, "ns": namespace}
        (row,) = self._rows(partition, reads.SIZE, values)
        return NamespaceSize(tenant, namespace, int(row.cubes), int(row.text_bytes))

    def forget_replies(self, partition: int, epoch: int, before: datetime) -> int:
        """See `RecordStorePort.forget_replies`."""

        def forget(connection: Connection) -> int:
            writes.hold(connection, partition, epoch)
            return writes.forget_replies(connection, partition, before)

        return self._transact(partition, forget)

    def check(self) -> list[str]:
        """See `RecordStorePort.check`."""
        if self._folder is None:
            return checks.findings(self._database(0))
        found: list[str] = []
        for file in sorted(self._folder.glob("p[0-9]*.sqlite")):
            try:
                found += checks.findings(self._database(int(file.stem[1:])))
            except StoreError as error:
                found.append(str(error))
        return found

    def _log(
        self, table: Table, partition: int, after: int, limit: int, query: EventQuery | None
    ) -> list[Event]:
        statement = (
            select(table)
            .where(
                table.c.partition == partition,
                table.c.lsn > after,
                *event_rows.event_conditions(table, query),
            )
            .order_by(table.c.lsn)
            .limit(limit)
        )
        return [event_rows.event_of(row) for row in self._rows(partition, statement, {})]


def _as_stored(cube: MemCube) -> MemCube:
    return cube


def _vectors(row: AnyRow) -> StoredVectors | None:
    if row.vector_body is None:
        return None
    return rows.vectors_of(row, CubeKey(row.tenant, row.id))
