"""Alembic's entry point: runs migrations on the connection that the store hands over."""

from __future__ import annotations

from alembic import context

from memos_ray.adapters.sql.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite changes tables by copying them.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
