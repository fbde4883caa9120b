"""The tables of the record and control stores, one definition for SQLite and PostgreSQL.

Every record table carries its partition, so that one PostgreSQL database holds all of them; a
SQLite file holds one. Times are microseconds since 1970, which keeps every moment of the calendar
exact. Names compare and sort by code point in both databases, as they do in Python.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

from memos_ray.core.cube.facets import FIELDS, Kind

METADATA = MetaData(
    naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_name)s"}
)

_NAME = Text().with_variant(Text(collation="C"), "postgresql")
_COLUMNS: dict[Kind, TypeEngine[Any]] = {
    Kind.TEXT: _NAME,
    Kind.INTEGER: BigInteger(),
    Kind.TIME: BigInteger(),
    Kind.FLAG: Boolean(),
}
_ALWAYS_PRESENT = frozenset(
    (
        "id",
        "namespace",
        "owner",
        "visibility",
        "state",
        "form",
        "origin",
        "semantic_type",
        "priority",
        "created_at",
        "updated_at",
        "frozen",
    )
)

SCALARS: tuple[str, ...] = tuple(name for name, kind in FIELDS.items() if kind is not Kind.SET)
"""Facets that are columns of `cube`; the others are rows of `label`."""


def _key(name: str, type_: TypeEngine[Any] = _NAME) -> Column[Any]:
    return Column(name, type_, primary_key=True, autoincrement=False)


def _need(name: str, type_: TypeEngine[Any] = _NAME) -> Column[Any]:
    return Column(name, type_, nullable=False)


def _may(name: str, type_: TypeEngine[Any] = _NAME) -> Column[Any]:
    return Column(name, type_, nullable=True)


def _facet(name: str) -> Column[Any]:
    return Column(name, _COLUMNS[FIELDS[name]], nullable=name not in _ALWAYS_PRESENT)


def _log_columns() -> list[Column[Any]]:
    return [
        _need("at", BigInteger()),
        _need("tenant"),
        _need("namespace"),
        _need("principal"),
        _need("operation"),
        _may("cube_id"),
        _may("version", BigInteger()),
        _need("outcome"),
        _may("purpose"),
        _may("role"),
        _may("application"),
        _need("credential"),
        _need("request_id"),
        _need("detail"),
    ]


meta = Table("meta", METADATA, _key("name"), _need("value"))
"""Who made this database, and which partition a file is."""

revision = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""The schema revision: Alembic's own table, declared here to make fresh files without Alembic."""

fence = Table(
    "fence",
    METADATA,
    _key("partition", BigInteger()),
    _need("epoch", BigInteger()),
    _need("owner"),
    _need("lsn", BigInteger()),
)
"""The writer of each partition and the end of its log."""

cube = Table(
    "cube",
    METADATA,
    _key("partition", BigInteger()),
    _key("tenant"),
    _key("id"),
    *(_facet(name) for name in SCALARS if name != "id"),
    _need("number", BigInteger()),
    _need("text_bytes", BigInteger()),
    _may("sketch"),
    _need("access_count", BigInteger()),
    _may("last_access_at", BigInteger()),
    _need("frequency", Double()),
    _need("cache_hits", BigInteger()),
    _need("usefulness", Double()),
    _need("tasks"),
    _need("agents"),
    _need("made_at", BigInteger()),
    _may("half_life_s", Double()),
)
"""The head of each cube: what is filtered on, and what changes without a new version.

`made_at`, when its version was made, and `half_life_s`, of a lifespan that is a decay, are there so
that a sweep knows without reading a body what may be due.
"""

# Also covers the sizes of namespaces, so that they are counted without touching the rows.
Index(
    "ix_cube_newest",
    cube.c.partition,
    cube.c.tenant,
    cube.c.namespace,
    cube.c.created_at,
    cube.c.id,
    cube.c.state,
    cube.c.text_bytes,
)
Index(
    "ix_cube_conversation",
    cube.c.partition,
    cube.c.tenant,
    cube.c.namespace,
    cube.c.conversation,
    sqlite_where=cube.c.conversation.is_not(None),
    postgresql_where=cube.c.conversation.is_not(None),
)

version = Table(
    "version",
    METADATA,
    _key("partition", BigInteger()),
    _key("tenant"),
    _key("cube_id"),
    _key("number", BigInteger()),
    _need("lsn", BigInteger()),
    _need("created_at", BigInteger()),
    _need("state"),
    _need("change"),
    _need("author"),
    _need("digest"),
    _need("parents"),
    _may("reason"),
    _need("body", LargeBinary()),
)
"""Immutable versions; `body` is the canonical JSON of the cube and the only copy of its content."""

label = Table(
    "label",
    METADATA,
    _key("partition", BigInteger()),
    _key("tenant"),
    _key("cube_id"),
    _key("name"),
    _key("slot", BigInteger()),
    _may("text"),
    _may("flag", Boolean()),
    _may("whole", BigInteger()),
    _may("real", Double()),
    _need("hash", BigInteger()),
    sqlite_with_rowid=False,
)
"""Set facets and the caller's attributes of heads; exactly one of the four values is present.

`hash` stands for the value in the index, since a value may be longer than an index entry can be.
"""

# Serves both "which cubes have this value?" and "has this cube this value?".
Index(
    "ix_label_value",
    label.c.partition,
    label.c.tenant,
    label.c.name,
    label.c.hash,
    label.c.cube_id,
)

vector = Table(
    "vector",
    METADATA,
    _key("partition", BigInteger()),
    _key("tenant"),
    _key("cube_id"),
    _key("space"),
    _key("version", BigInteger()),
    _need("sketch"),
    _need("body", LargeBinary()),
)
"""Embedded views of versions, from which any vector store can be rebuilt."""

event = Table(
    "event",
    METADATA,
    _key("partition", BigInteger()),
    _key("lsn", BigInteger()),
    *_log_columns(),
    sqlite_with_rowid=False,
)
"""The log of each partition; entries outlive the cubes they speak of."""

Index("ix_event_cube", event.c.partition, event.c.tenant, event.c.cube_id)
Index("ix_event_at", event.c.partition, event.c.at)

access = Table(
    "access",
    METADATA,
    _key("partition", BigInteger()),
    _key("lsn", BigInteger()),
    *_log_columns(),
    sqlite_with_rowid=False,
)
"""Reads and decisions, numbered apart from the log."""

Index("ix_access_cube", access.c.partition, access.c.tenant, access.c.cube_id)
Index("ix_access_request", access.c.partition, access.c.request_id)
Index("ix_access_at", access.c.partition, access.c.at)

reply = Table(
    "reply",
    METADATA,
    _key("partition", BigInteger()),
    _key("tenant"),
    _key("scope"),
    _key("key"),
    _need("request"),
    _need("at", BigInteger()),
    _need("body", LargeBinary()),
    sqlite_with_rowid=False,
)
"""Answers by idempotency key."""

Index("ix_reply_at", reply.c.partition, reply.c.at)

derivation = Table(
    "derivation",
    METADATA,
    _key("partition", BigInteger()),
    _key("tenant"),
    _key("kind"),
    _key("name"),
    _need("namespace"),
    _need("blob"),
    _need("size_bytes", BigInteger()),
    _need("body", LargeBinary()),
    sqlite_with_rowid=False,
)
"""What has been made of memories and rests as a blob."""

Index(
    "ix_derivation_place",
    derivation.c.partition,
    derivation.c.kind,
    derivation.c.tenant,
    derivation.c.namespace,
)

cursor = Table(
    "cursor",
    METADATA,
    _key("partition", BigInteger()),
    _key("name"),
    _need("lsn", BigInteger()),
)
"""How far each named consumer has read the log."""

counter = Table(
    "counter",
    METADATA,
    _key("partition", BigInteger()),
    _key("name"),
    _need("value", BigInteger()),
)
"""Row numbers handed out in commit order: a locked row, since sequences have gaps and overtake."""

SQLITE_STATISTICS: tuple[tuple[str, str, str], ...] = (
    ("fence", "fence", "1 1"),
    ("cube", "sqlite_autoindex_cube_1", "100000 100000 100000 1"),
    ("cube", "ix_cube_newest", "100000 100000 100000 50000 2 1 1 1"),
    ("cube", "ix_cube_conversation", "100000 100000 100000 50000 50"),
    ("version", "sqlite_autoindex_version_1", "150000 150000 150000 2 1"),
    ("label", "label", "300000 300000 300000 3 2 1"),
    ("label", "ix_label_value", "300000 300000 300000 30000 30 1"),
    ("vector", "sqlite_autoindex_vector_1", "150000 150000 150000 2 2 1"),
    ("event", "event", "200000 200000 1"),
    ("event", "ix_event_cube", "200000 200000 200000 2"),
    ("event", "ix_event_at", "200000 200000 2"),
    ("access", "access", "200000 200000 1"),
    ("access", "ix_access_cube", "200000 200000 200000 10"),
    ("access", "ix_access_request", "200000 200000 10"),
    ("access", "ix_access_at", "200000 200000 2"),
    ("reply", "reply", "100000 100000 100000 10000 1"),
    ("reply", "ix_reply_at", "100000 100000 2"),
    ("derivation", "derivation", "1000 1000 100 100 1"),
    ("derivation", "ix_derivation_place", "1000 1000 100 100 20"),
)
"""What SQLite's planner shall assume (table, index, rows and rows per key prefix).

Without statistics it takes a partition and a tenant for selective, though a file holds one
partition and few tenants. Measured ones of a young file would mislead it as well, and plans would
change with the day.
"""

CONTROL = -1
"""The `counter` partition of the control log."""

document = Table(
    "document",
    METADATA,
    _key("tenant"),
    _key("kind"),
    _key("key"),
    _need("revision", BigInteger()),
    _need("body", LargeBinary()),
)
"""Documents of the control plane."""

control_event = Table("control_event", METADATA, _key("lsn", BigInteger()), *_log_columns())
"""The log of the control plane."""

Index("ix_control_event_at", control_event.c.at)
