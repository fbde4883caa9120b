"""When each head was made, and its half-life, beside it: sweeps read no bodies for them."""

from __future__ import annotations

import orjson
import sqlalchemy as sa
from alembic import op

from memos_ray.adapters.sql.migrations.versions.r0001_initial import (
    CUBE,
    STATISTICS,
    WHOLE,
    index,
    table,
)

revision = "0004"
down_revision: str | None = "0003"

AT_ONCE = 1000
DECAYS = b'"kind":"decay"'
OF_HEAD = """
    FROM version v
    WHERE v.partition = c.partition AND v.tenant = c.tenant AND v.cube_id = c.id
      AND v.number = c.number
"""
# A head that has lost its version is a finding of `check`, and bars no migration.
MADE_AT = f"coalesce((SELECT v.created_at {OF_HEAD}), c.updated_at)"
NAMES = ", ".join(("partition", "tenant", "id", *(name for name, _, _ in CUBE)))


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _made_anew()
    else:
        _extended()
    _half_lives()


def _extended() -> None:
    # Of many memories it takes longer than a statement otherwise may.
    op.execute("SET LOCAL statement_timeout = 0")
    op.add_column("cube", sa.Column("made_at", WHOLE, nullable=True))
    op.add_column("cube", sa.Column("half_life_s", sa.Double(), nullable=True))
    op.execute(f"UPDATE cube c SET made_at = {MADE_AT}")
    op.alter_column("cube", "made_at", nullable=False)


def _made_anew() -> None:
    """SQLite adds no column that must have a value, and puts added ones behind the constraints."""
    op.execute("ALTER TABLE cube RENAME TO cube_before")
    for name in ("ix_cube_newest", "ix_cube_conversation"):
        op.drop_index(name)
    columns = (*CUBE, ("made_at", WHOLE, False), ("half_life_s", sa.Double(), True))
    table("cube", ("partition", "tenant", "id"), columns)
    op.execute(
        f"INSERT INTO cube ({NAMES}, made_at)"
        f" SELECT {NAMES}, {MADE_AT} FROM cube_before c ORDER BY rowid"
    )
    op.drop_table("cube_before")
    place = ("partition", "tenant", "namespace")
    index("ix_cube_newest", "cube", *place, "created_at", "id", "state", "text_bytes")
    named = sa.text("conversation IS NOT NULL")
    index("ix_cube_conversation", "cube", *place, "conversation", sqlite_where=named)
    connection = op.get_bind()
    connection.exec_driver_sql("DELETE FROM sqlite_stat1 WHERE tbl IN ('cube', 'cube_before')")
    connection.exec_driver_sql(
        "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)",
        [row for row in STATISTICS if row[0] == "cube"],
    )


def _half_lives() -> None:
    """Reads the bodies that may say one, few at a time."""
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    holds = "instr(h.body, :needle)" if sqlite else "position(:needle IN h.body)"
    page = sa.text(
        f"SELECT * FROM (SELECT c.partition, c.tenant, c.id, (SELECT v.body {OF_HEAD}) AS body"
        f" FROM cube c WHERE (c.partition, c.tenant, c.id) > (:p, :t, :i)) h"
        f" WHERE {holds} > 0 ORDER BY h.partition, h.tenant, h.id LIMIT {AT_ONCE}"
    ).bindparams(sa.bindparam("needle", DECAYS, type_=sa.LargeBinary()))
    change = sa.text(
        "UPDATE cube SET half_life_s = :s WHERE partition = :p AND tenant = :t AND id = :i"
    )
    last = {"p": -1, "t": "", "i": ""}
    while found := connection.execute(page, last).all():
        changes = []
        for row in found:
            last = {"p": row.partition, "t": row.tenant, "i": row.id}
            # The name may also be that of an attribute.
            lifespan = orjson.loads(row.body)["governance"]["lifespan"]
            if lifespan["kind"] == "decay":
                changes.append(last | {"s": float(lifespan["half_life_s"])})
        if changes:
            connection.execute(change, changes)
