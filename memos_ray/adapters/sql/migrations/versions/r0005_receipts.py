"""Receipts of erasures rest by what is to be done with them: pending, of sweeps, and others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"

UNSIGNED = b'"signature":""'


def upgrade() -> None:
    connection = op.get_bind()
    sqlite = connection.dialect.name == "sqlite"
    unsigned = "instr(body, :unsigned) > 0" if sqlite else "position(:unsigned IN body) > 0"
    # A receipt's names are ids and digests: none of them can hold what is looked for.
    connection.execute(
        sa.text(
            f"UPDATE derivation SET kind = 'receipt_waiting' WHERE kind = 'receipt' AND {unsigned}"
        ).bindparams(sa.bindparam("unsigned", UNSIGNED, type_=sa.LargeBinary()))
    )
    connection.execute(
        sa.text(
            "UPDATE derivation SET kind = 'receipt_collected'"
            " WHERE kind = 'receipt' AND name LIKE 'collected:%'"
        )
    )
