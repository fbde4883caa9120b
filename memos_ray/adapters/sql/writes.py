"""The statements that change a partition; each function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from memos_ray.adapters.sql import event_rows, rows
from memos_ray.adapters.sql.batching import add_alike, bulk, bulk_rows, change, in_chunks, upsert
from memos_ray.adapters.sql.rows import USAGE_COLUMNS
from memos_ray.adapters.sql.schema import (
    access,
    counter,
    cube,
    cursor,
    derivation,
    event,
    fence,
    label,
    reply,
    vector,
    version,
)
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import Facets, to_micros
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.vault import storable
from memos_ray.core.vault import usage as indicators
from memos_ray.core.vault.entries import STATES_ONLY
from memos_ray.core.vault.log import Commit, CubeKey, Event, Moved, UsageDelta
from memos_ray.errors import AlreadyExistsError, FencedError
from memos_ray.ports import Derivation, StoredVectors

_ACCESSES = "accesses"
_ADD_EVENTS = event.insert()
_ADD_ACCESSES = access.insert()
_ADD_VERSIONS = version.insert()
_ADD_LABELS = label.insert()
_ADD_REPLIES = reply.insert()


def take(connection: Connection, partition: int, owner: str, epoch: int) -> None:
    """Moves the fence to a newer epoch."""
    storable.check_texts(owner=owner)
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(fence).values(partition=partition, epoch=epoch, owner=owner, lsn=0)
    taken = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["partition"],
            set_={"epoch": statement.excluded.epoch, "owner": statement.excluded.owner},
            where=fence.c.epoch < statement.excluded.epoch,
        ).returning(fence.c.epoch)
    ).first()
    if epoch <= 0 or taken is None:
        raise FencedError("the partition has a newer owner", partition=partition, epoch=epoch)


_HOLD = (
    select(fence.c.epoch)
    .where(fence.c.partition == bindparam("p"), fence.c.epoch == bindparam("e"))
    .with_for_update()
)


def hold(connection: Connection, partition: int, epoch: int) -> None:
    """Verifies the fence and keeps it where it is until the transaction ends."""
    if connection.execute(_HOLD, {"p": partition, "e": epoch}).first() is None:
        raise FencedError("another epoch holds the partition", partition=partition, epoch=epoch)


_EXTEND = (
    update(fence)
    .where(fence.c.partition == bindparam("p"), fence.c.epoch == bindparam("e"))
    .values(lsn=fence.c.lsn + bindparam("n"))
    .returning(fence.c.lsn)
)


def apply(connection: Connection, commit: Commit) -> None:
    """Applies a commit; see `RecordStorePort.commit`."""
    _extend_log(connection, commit)
    for tenant, ids in in_chunks(commit.erased):
        _erase(connection, commit.partition, tenant, ids)
    if commit.cubes:
        _add_cubes(connection, commit)
    if commit.moved:
        partition, moved = commit.partition, commit.moved
        made = [rows.moved_version_row(partition, one) for one in moved]
        add_alike(connection, _ADD_VERSIONS, made)
        _move_heads(connection, partition, moved)
        stow(connection, partition, commit.stowed)
    told = event_rows.event_rows(commit.partition, ((one.lsn, one) for one in commit.events))
    add_alike(connection, _ADD_EVENTS, told)
    if commit.replies:
        bulk(
            connection,
            _ADD_REPLIES,
            [rows.reply_row(commit.partition, one) for one in commit.replies],
        )


def _extend_log(connection: Connection, commit: Commit) -> None:
    count = len(commit.events)
    found = connection.execute(
        _EXTEND, {"p": commit.partition, "e": commit.epoch, "n": count}
    ).scalar()
    if found is None:
        raise FencedError(
            "another epoch holds the partition", partition=commit.partition, epoch=commit.epoch
        )
    first = found - count + 1
    for place, entry in enumerate(commit.events):
        if entry.lsn != first + place:
            raise AlreadyExistsError(
                "the log does not go on with this entry",
                partition=commit.partition,
                lsn=entry.lsn,
                expected=first + place,
            )


def _erase(connection: Connection, partition: int, tenant: str, ids: list[str]) -> None:
    for table in (vector, label, version):
        connection.execute(
            delete(table).where(
                table.c.partition == partition, table.c.tenant == tenant, table.c.cube_id.in_(ids)
            )
        )
    connection.execute(
        delete(cube).where(
            cube.c.partition == partition, cube.c.tenant == tenant, cube.c.id.in_(ids)
        )
    )


def _add_cubes(connection: Connection, commit: Commit) -> None:
    partition = commit.partition
    logged = {
        (entry.tenant, entry.cube_id, entry.version): entry.lsn for entry in reversed(commit.events)
    }
    last = commit.events[-1].lsn if commit.events else 0
    heads: dict[CubeKey, tuple[MemCube, Facets]] = {}
    known: set[CubeKey] = set()
    relabelled: set[CubeKey] = set()
    versions = []
    for place, one in enumerate(commit.cubes):
        key, number = CubeKey(one.tenant, one.id), one.version.number
        lsn = one.version.lsn or logged.get((one.tenant, one.id, number), last)
        body = commit.bodies[place] if commit.bodies else None
        versions.append(rows.version_row(partition, one, lsn, body))
        if key not in heads and number > 1:
            known.add(key)
        # The first version that a branch has of a memory goes on from one of another's.
        moved = number > 1 and one.version.change in STATES_ONLY and BRANCH_MARK not in one.id
        if not moved:
            relabelled.add(key)
        heads[key] = one, commit.facets[place] if commit.facets else rows.checked_facets(one)
    bulk_rows(connection, _ADD_VERSIONS, rows.VERSION, versions)
    for tenant, ids in in_chunks(known & relabelled):
        connection.execute(
            delete(label).where(
                label.c.partition == partition, label.c.tenant == tenant, label.c.cube_id.in_(ids)
            )
        )
    cubes: list[rows.Values] = []
    labels: list[rows.Values] = []
    for key, (one, facets) in heads.items():
        cubes.append(rows.cube_row(partition, one, facets))
        if key in relabelled:
            labels.extend(rows.label_rows(partition, one, facets))
    bulk(connection, upsert(connection.dialect.name, cube, *USAGE_COLUMNS), cubes)
    bulk(connection, _ADD_LABELS, labels)


def _move_heads(connection: Connection, partition: int, moved: Sequence[Moved]) -> None:
    """Changes heads, at once those that become the same: of a sweep, thousands."""
    alike: dict[rows.InOrder, list[str]] = {}
    for one in moved:
        alike.setdefault(rows.moved_values(partition, one), []).append(one.key.id)
    for values, ids in alike.items():
        change(connection, _MOVE, cube.c.id, dict(zip(rows.MOVED, values, strict=True)), ids)


# What else a head says stays as it is, its labels included.
_MOVE = (
    update(cube)
    .where(
        cube.c.partition == bindparam("p"),
        cube.c.tenant == bindparam("t"),
    )
    .values(
        number=bindparam("n"),
        state=bindparam("s"),
        updated_at=bindparam("at"),
        made_at=bindparam("at"),
        expires_at=bindparam("until"),
    )
)

_STOW = (
    update(version)
    .where(
        version.c.partition == bindparam("p"),
        version.c.tenant == bindparam("t"),
        version.c.cube_id == bindparam("i"),
        version.c.number == bindparam("n"),
        version.c.digest == bindparam("d"),
    )
    .values(body=bindparam("b"))
)
_STOWED = ("b", "p", "t", "i", "n", "d")


def stow(connection: Connection, partition: int, versions: Sequence[StoredVersion]) -> None:
    """Replaces the bodies of versions."""
    stowed = [(body, partition, t, i, n, digest) for t, _, i, n, digest, body in versions]
    bulk_rows(connection, _STOW, _STOWED, stowed)


def save_vectors(connection: Connection, partition: int, saved: Sequence[StoredVectors]) -> None:
    """Stores vectors of versions that are (still) there, and sketches of heads."""
    there: set[tuple[CubeKey, int]] = set()
    for tenant, ids in in_chunks({one.key for one in saved}):
        found = connection.execute(
            select(version.c.cube_id, version.c.number).where(
                version.c.partition == partition,
                version.c.tenant == tenant,
                version.c.cube_id.in_(ids),
            )
        )
        there.update((CubeKey(tenant, cube_id), number) for cube_id, number in found)
    kept = [one for one in saved if (one.key, one.version) in there]
    stored = [rows.vectors_row(partition, one) for one in kept]
    bulk(connection, upsert(connection.dialect.name, vector), stored)
    bulk(
        connection,
        _SKETCH,
        [
            {
                "p": partition,
                "t": one.key.tenant,
                "i": one.key.id,
                "n": one.version,
                "s": one.sketch,
            }
            for one in kept
        ],
    )


_SKETCH = (
    update(cube)
    .where(
        cube.c.partition == bindparam("p"),
        cube.c.tenant == bindparam("t"),
        cube.c.id == bindparam("i"),
        cube.c.number == bindparam("n"),
    )
    .values(sketch=bindparam("s"))
)


def save_derivation(connection: Connection, partition: int, row: Derivation) -> None:
    """Stores what has been made of memories."""
    values = rows.derivation_row(partition, row)
    connection.execute(upsert(connection.dialect.name, derivation), values)


def forget_derivations(
    connection: Connection, partition: int, tenant: str, kind: str, names: Sequence[str]
) -> None:
    """Removes what has been made of memories."""
    for _, part in in_chunks(CubeKey(tenant, name) for name in names):
        connection.execute(
            delete(derivation).where(
                derivation.c.partition == partition,
                derivation.c.tenant == tenant,
                derivation.c.kind == kind,
                derivation.c.name.in_(part),
            )
        )


def advance(connection: Connection, partition: int, name: str, lsn: int) -> None:
    """Moves a cursor."""
    storable.check_names(cursor=name)
    connection.execute(
        upsert(connection.dialect.name, cursor), {"partition": partition, "name": name, "lsn": lsn}
    )


_ADD_USAGE = (
    update(cube)
    .where(
        cube.c.partition == bindparam("p"),
        cube.c.tenant == bindparam("t"),
        cube.c.id == bindparam("i"),
    )
    .values({name: bindparam(name) for name in USAGE_COLUMNS})
)


def add_usage(connection: Connection, partition: int, deltas: Sequence[UsageDelta]) -> None:
    """Adds accesses to the indicators of the cubes that are there."""
    held = {}
    for tenant, ids in in_chunks({delta.key for delta in deltas}):
        found = connection.execute(
            select(cube.c.id, *(cube.c[name] for name in USAGE_COLUMNS)).where(
                cube.c.partition == partition, cube.c.tenant == tenant, cube.c.id.in_(ids)
            )
        )
        held.update({CubeKey(tenant, row.id): rows.usage_of(row[1:]) for row in found})
    for delta in deltas:
        if delta.key in held:
            held[delta.key] = indicators.add(held[delta.key], delta)
    bulk(
        connection,
        _ADD_USAGE,
        [
            {"p": partition, "t": key.tenant, "i": key.id, **rows.usage_values(usage)}
            for key, usage in held.items()
        ],
    )


def next_numbers(connection: Connection, partition: int, name: str, count: int) -> int:
    """Hands out `count` numbers in commit order and returns the first; the row stays locked."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(counter).values(partition=partition, name=name, value=count)
    last = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["partition", "name"],
            set_={"value": counter.c.value + statement.excluded.value},
        ).returning(counter.c.value)
    ).scalar_one()
    return int(last) - count + 1


def add_accesses(connection: Connection, partition: int, accesses: Sequence[Event]) -> None:
    """Appends to the access log."""
    first = next_numbers(connection, partition, _ACCESSES, len(accesses))
    told = event_rows.event_rows(partition, enumerate(accesses, first))
    add_alike(connection, _ADD_ACCESSES, told)


def forget_replies(connection: Connection, partition: int, before: datetime) -> int:
    """Drops old replies and returns how many."""
    gone = connection.execute(
        delete(reply).where(reply.c.partition == partition, reply.c.at < to_micros(before))
    )
    return int(gone.rowcount)
