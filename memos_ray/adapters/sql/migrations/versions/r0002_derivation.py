"""What has been made of memories and rests as a blob."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
KEYS = ("tenant", "kind", "name")


def upgrade() -> None:
    op.create_table(
        "derivation",
        sa.Column("partition", sa.BigInteger(), nullable=False, autoincrement=False),
        *(sa.Column(name, NAME, nullable=False) for name in (*KEYS, "namespace", "blob")),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partition", *KEYS, name="pk_derivation"),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)",
            ("derivation", "derivation", "1000 1000 100 100 1"),
        )
