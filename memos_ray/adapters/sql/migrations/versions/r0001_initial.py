"""The first schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision: str | None = None

Columns = Sequence[tuple[str, TypeEngine[Any], bool]]

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WHOLE = sa.BigInteger()

LOG: Columns = (
    ("at", WHOLE, False),
    ("tenant", NAME, False),
    ("namespace", NAME, False),
    ("principal", NAME, False),
    ("operation", NAME, False),
    ("cube_id", NAME, True),
    ("version", WHOLE, True),
    ("outcome", NAME, False),
    ("purpose", NAME, True),
    ("role", NAME, True),
    ("application", NAME, True),
    ("credential", NAME, False),
    ("request_id", NAME, False),
    ("detail", NAME, False),
)
CUBE: Columns = (
    ("namespace", NAME, False),
    ("owner", NAME, False),
    ("visibility", NAME, False),
    ("state", NAME, False),
    ("form", NAME, False),
    ("origin", NAME, False),
    ("semantic_type", NAME, False),
    ("conversation", NAME, True),
    ("session", NAME, True),
    ("speaker", NAME, True),
    ("role", NAME, True),
    ("priority", WHOLE, False),
    ("position", WHOLE, True),
    ("created_at", WHOLE, False),
    ("updated_at", WHOLE, False),
    ("event_time", WHOLE, True),
    ("valid_from", WHOLE, True),
    ("valid_to", WHOLE, True),
    ("expires_at", WHOLE, True),
    ("frozen", sa.Boolean(), False),
    ("number", WHOLE, False),
    ("text_bytes", WHOLE, False),
    ("sketch", NAME, True),
    ("access_count", WHOLE, False),
    ("last_access_at", WHOLE, True),
    ("frequency", sa.Double(), False),
    ("cache_hits", WHOLE, False),
    ("usefulness", sa.Double(), False),
    ("tasks", NAME, False),
    ("agents", NAME, False),
)
LABEL: Columns = (
    ("text", NAME, True),
    ("flag", sa.Boolean(), True),
    ("whole", WHOLE, True),
    ("real", sa.Double(), True),
    ("hash", WHOLE, False),
)
VERSION: Columns = (
    ("lsn", WHOLE, False),
    ("created_at", WHOLE, False),
    ("state", NAME, False),
    ("change", NAME, False),
    ("author", NAME, False),
    ("digest", NAME, False),
    ("parents", NAME, False),
    ("reason", NAME, True),
    ("body", sa.LargeBinary(), False),
)
NUMBERS = frozenset(("partition", "lsn", "number", "slot"))

STATISTICS = (
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
)


def table(name: str, keys: Sequence[str], columns: Columns, **options: Any) -> None:
    op.create_table(
        name,
        *(
            sa.Column(key, WHOLE if key in NUMBERS else NAME, nullable=False, autoincrement=False)
            for key in keys
        ),
        *(sa.Column(column, kind, nullable=nullable) for column, kind, nullable in columns),
        sa.PrimaryKeyConstraint(*keys, name=f"pk_{name}"),
        **options,
    )


def index(name: str, table_name: str, *columns: str, **options: Any) -> None:
    op.create_index(name, table_name, list(columns), **options)


def upgrade() -> None:
    table("meta", ("name",), (("value", NAME, False),))
    table(
        "fence",
        ("partition",),
        (("epoch", WHOLE, False), ("owner", NAME, False), ("lsn", WHOLE, False)),
    )
    table("cube", ("partition", "tenant", "id"), CUBE)
    place = ("partition", "tenant", "namespace")
    index("ix_cube_newest", "cube", *place, "created_at", "id", "state", "text_bytes")
    named = sa.text("conversation IS NOT NULL")
    index(
        "ix_cube_conversation",
        "cube",
        *place,
        "conversation",
        sqlite_where=named,
        postgresql_where=named,
    )
    cube = ("partition", "tenant", "cube_id")
    table("version", (*cube, "number"), VERSION)
    table("label", (*cube, "name", "slot"), LABEL, sqlite_with_rowid=False)
    index("ix_label_value", "label", "partition", "tenant", "name", "hash", "cube_id")
    op.create_table(
        "vector",
        sa.Column("partition", WHOLE, nullable=False, autoincrement=False),
        sa.Column("tenant", NAME, nullable=False),
        sa.Column("cube_id", NAME, nullable=False),
        sa.Column("space", NAME, nullable=False),
        sa.Column("version", WHOLE, nullable=False, autoincrement=False),
        sa.Column("sketch", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(*cube, "space", "version", name="pk_vector"),
    )
    table("event", ("partition", "lsn"), LOG, sqlite_with_rowid=False)
    index("ix_event_cube", "event", *cube)
    index("ix_event_at", "event", "partition", "at")
    table("access", ("partition", "lsn"), LOG, sqlite_with_rowid=False)
    index("ix_access_cube", "access", *cube)
    index("ix_access_request", "access", "partition", "request_id")
    index("ix_access_at", "access", "partition", "at")
    table(
        "reply",
        ("partition", "tenant", "scope", "key"),
        (("request", NAME, False), ("at", WHOLE, False), ("body", sa.LargeBinary(), False)),
        sqlite_with_rowid=False,
    )
    index("ix_reply_at", "reply", "partition", "at")
    table("cursor", ("partition", "name"), (("lsn", WHOLE, False),))
    table("counter", ("partition", "name"), (("value", WHOLE, False),))
    table(
        "document",
        ("tenant", "kind", "key"),
        (("revision", WHOLE, False), ("body", sa.LargeBinary(), False)),
    )
    table("control_event", ("lsn",), LOG)
    index("ix_control_event_at", "control_event", "at")
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ANALYZE")
        connection.exec_driver_sql(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", list(STATISTICS)
        )
