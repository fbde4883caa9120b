"""Creates, recognises and migrates the schema of one database.

A fresh database gets today's tables at once and is stamped with their revision. A current one is
only looked at. An older one is migrated by Alembic in one transaction, under a lock. Whatever else
is found is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, inspect, select, text
from sqlalchemy.schema import CreateIndex, CreateTable

from memos_ray.adapters.sql.engine import Database
from memos_ray.adapters.sql.failures import translated
from memos_ray.adapters.sql.schema import METADATA, SQLITE_STATISTICS, meta, revision
from memos_ray.errors import StoreCorruptError, StoreVersionError

if TYPE_CHECKING:
    from alembic.config import Config

CLUSTER = "cluster"
"""The home of a database that serves all partitions and the control plane."""

_MAKER = "memos-ray"
_LOCK_ID = 0x6D656D6F73  # "memos"; names the advisory lock of migrations on a server
_BASE = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class History:
    """The revisions that this version knows.

    Attributes:
        head: the newest one, which `METADATA` describes.
        folders: where Alembic finds the scripts.
    """

    head: str
    folders: tuple[Path, ...]


HISTORY = History("0005", (_BASE / "versions",))


def prepare(database: Database, home: str, history: History = HISTORY) -> Database:
    """Makes sure that a database has the current schema, and returns it.

    Args:
        home: what the database is for; one made for another purpose is refused.

    Raises:
        StoreVersionError: a newer version of this software, or another program, wrote it.
        StoreCorruptError: it is damaged, or a file of another partition under this name.
        StoreFullError: no space to create or migrate it.
    """
    try:
        with translated(database.name):
            _prepare(database, home, history)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: Database, home: str, history: History) -> None:
    with database.reader.connect() as connection:
        found, made_for = look(connection)
    if found != history.head:
        with database.writer.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK_ID)))
            # Another process may have been faster.
            found, made_for = look(connection)
            if found is None:
                _create(connection, database, home, history)
                return
            _check_home(database, made_for, home)
            if found != history.head:
                _migrate(connection, database, found, history)
    _check_home(database, made_for, home)


def _check_home(database: Database, found: str | None, expected: str) -> None:
    if found != expected:
        raise StoreCorruptError(
            "the store was made for another purpose",
            store=database.name,
            found=found or "none",
            expected=expected,
        )


def look(connection: Connection) -> tuple[str | None, str | None]:
    """Returns revision and purpose; nothing for a database without tables of ours."""
    if connection.dialect.name == "sqlite":
        there = connection.exec_driver_sql(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('alembic_version', 'meta')"
        ).scalar_one()
    else:
        there = connection.execute(
            text(
                "SELECT count(*) FROM pg_tables WHERE tablename IN ('alembic_version', 'meta')"
                " AND schemaname = current_schema()"
            )
        ).scalar_one()
    if there < 2:
        return None, None
    found = connection.execute(select(revision.c.version_num)).scalar()
    home = connection.execute(select(meta.c.value).where(meta.c.name == "home")).scalar()
    return found, home


def _create(connection: Connection, database: Database, home: str, history: History) -> None:
    foreign = inspect(connection).get_table_names()
    if foreign:
        raise StoreVersionError(
            "the database belongs to another program",
            store=database.name,
            found="none",
            expected=history.head,
        )
    for table in (revision, *METADATA.sorted_tables):
        connection.execute(CreateTable(table))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("ANALYZE")
        connection.exec_driver_sql(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (?, ?, ?)", list(SQLITE_STATISTICS)
        )
    connection.execute(insert(revision).values(version_num=history.head))
    connection.execute(
        insert(meta), [{"name": "made_by", "value": _MAKER}, {"name": "home", "value": home}]
    )


def upgrade(connection: Connection, history: History = HISTORY) -> None:
    """Runs all migrations that a database has not seen; on an empty one, every one there is."""
    # Alembic takes a moment to import, which only a migration is worth.
    from alembic import command

    command.upgrade(_config(connection, history), history.head)


def _migrate(connection: Connection, database: Database, found: str, history: History) -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config(connection, history))
    if found not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreVersionError(
            "a newer version of this software wrote the store",
            store=database.name,
            found=found,
            expected=history.head,
        )
    upgrade(connection, history)


def _config(connection: Connection, history: History) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_BASE))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(map(str, history.folders)))
    config.attributes["connection"] = connection
    return config
