"""Rows beside the memories are found by their kind and namespace."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision: str | None = "0002"

INDEX = "ix_derivation_place"


def upgrade() -> None:
    op.create_index(INDEX, "derivation", ["partition", "kind", "tenant", "namespace"])
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)",
            ("derivation", INDEX, "1000 1000 100 100 20"),
        )
