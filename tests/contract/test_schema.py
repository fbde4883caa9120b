"""The schema of the SQL stores: made at once, migrated from older ones, refused when unknown."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from memos_ray.adapters.sql import revisions
from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.adapters.sql.engine import Database, open_file, open_server
from memos_ray.adapters.sql.predicates import compile_predicate
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.adapters.sql.revisions import HISTORY, History
from memos_ray.adapters.sql.schema import METADATA, cube
from memos_ray.core.cube.metadata import Decay, Setting
from memos_ray.core.cube.predicate import Between, HasAny, Not, Present
from memos_ray.core.vault.log import UsageDelta
from memos_ray.errors import StoreCorruptError, StoreError, StoreVersionError
from memos_ray.ports import Derivation, RecordStorePort
from memos_ray.testing.cubes import START, key_of, make_cube, next_version
from memos_ray.testing.heads import every_head
from memos_ray.testing.record_backends import Owner

GOOD = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "HEAD"
def upgrade():
    op.create_table("ran", sa.Column("times", sa.Integer()))
    op.execute("INSERT INTO ran (times) VALUES (1)")
    with op.batch_alter_table("cube") as batch:
        batch.add_column(sa.Column("mood", sa.Text(), nullable=False, server_default="calm"))
    op.execute("UPDATE cube SET priority = priority + 1")
"""
BROKEN = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "HEAD"
def upgrade():
    op.create_table("ran", sa.Column("times", sa.Integer()))
    op.execute("DELETE FROM version")
    op.execute("UPDATE cube SET no_such_column = 1")
"""
_STRUCTURE = {
    "sqlite": """
        SELECT type, name, tbl_name, sql FROM sqlite_master
        UNION ALL SELECT 'statistics', tbl, idx, stat FROM sqlite_stat1
    """,
    "postgresql": """
        SELECT 'column', c.relname, a.attname, a.attnum::text,
               format_type(a.atttypid, a.atttypmod), a.attnotnull::text, l.collname
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND c.relkind = 'r'
        UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '', '' FROM pg_indexes
        WHERE schemaname = 'public'
        UNION ALL SELECT 'constraint', conrelid::regclass::text, conname,
                         pg_get_constraintdef(oid), '', '', ''
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
}
_places = itertools.count()


class Site:
    """Where databases can be made: a folder, or a server."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._request = request
        self._folder = folder
        self.on_server = request.param == "postgres"
        self.home = revisions.CLUSTER if self.on_server else "p0003"

    def place(self) -> str:
        """Returns where there is nothing yet."""
        if self.on_server:
            url: str = self._request.getfixturevalue("postgres").new_database()
            return url
        return str(self._folder / f"{next(_places)}" / "p0003.sqlite")

    def open(self, place: str) -> Database:
        return open_server(place) if self.on_server else open_file(Path(place))

    def records(self, place: str) -> RecordStorePort:
        if self.on_server:
            return SqlRecordStore.clustered(place)
        return SqlRecordStore.embedded(Path(place).parent)


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(request, tmp_path)


@pytest.fixture
def later(tmp_path: Path) -> Callable[[str], History]:
    """Makes the history of a later version of this software."""

    def make(script: str) -> History:
        folder = tmp_path / f"versions-{next(_places)}"
        folder.mkdir()
        (folder / "r9999_later.py").write_text(script.replace("HEAD", HISTORY.head))
        return History("9999", (*HISTORY.folders, folder))

    return make


@pytest.fixture
def filled(site: Site) -> Iterator[str]:
    """A database of today's version with one memory in it."""
    place = site.place()
    records = site.records(place)
    records.take(3, "shard-0", 1)
    Owner(records, 3).commit(make_cube("kept", id="kept", priority=4))
    records.close()
    yield place


def structure(database: Database) -> set[tuple[Any, ...]]:
    with database.read() as connection:
        rows = connection.execute(text(_STRUCTURE[connection.dialect.name]))
        return {tuple(row) for row in rows}


def ask(database: Database, sql: str) -> Any:
    with database.read() as connection:
        return connection.execute(text(sql)).scalar()


def test_the_migrations_lead_to_the_schema_that_fresh_databases_get(site: Site) -> None:
    fresh, migrated = site.open(site.place()), site.open(site.place())
    revisions.prepare(fresh, site.home)
    with migrated.write() as connection:
        revisions.upgrade(connection)
    assert structure(migrated) == structure(fresh)
    assert ask(fresh, "SELECT version_num FROM alembic_version") == HISTORY.head
    fresh.close()
    migrated.close()


def test_an_older_database_is_migrated_once_and_keeps_its_data(
    site: Site, filled: str, later: Callable[[str], History]
) -> None:
    history = later(GOOD)

    def open_and_look(_: int) -> tuple[Any, ...]:
        database = revisions.prepare(site.open(filled), site.home, history)
        found = (
            ask(database, "SELECT version_num FROM alembic_version"),
            ask(database, "SELECT sum(times) FROM ran"),
            ask(database, "SELECT mood FROM cube WHERE id = 'kept'"),
            ask(database, "SELECT priority FROM cube WHERE id = 'kept'"),
            ask(database, "SELECT count(*) FROM version"),
        )
        database.close()
        return found

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(open_and_look, range(3))) == [("9999", 1, "calm", 5, 1)] * 3
    assert open_and_look(0) == ("9999", 1, "calm", 5, 1)


def test_LIFE_2_what_sweeps_ask_of_is_found_in_what_older_versions_have_stored(site: Site) -> None:
    place = site.place()
    records = site.records(place)
    records.take(3, "shard-0", 1)
    owner = Owner(records, 3)
    lived = make_cube("tea", id="lived", setting=Setting(conversation="c-1"))
    named = make_cube("tea", id="named", attributes={"kind": "decay"})
    fades = make_cube("cold tea \0", id="fades", lifespan=Decay(9.0))
    many = [make_cube(id=f"many-{n:04}", lifespan=Decay(float(n + 1))) for n in range(1001)]
    owner.commit(lived, named, fades, *many)
    owner.commit(next_version(lived, text="newer tea"))
    records.add_usage(3, 1, [UsageDelta(key_of(fades), 2, START + timedelta(seconds=7))])
    heads = every_head(records, 3)
    records.close()
    old_place = site.place()
    today, older = site.open(place), site.open(old_place)
    _copy_to_revision(today, older, "0003", "made_at", "half_life_s")
    assert ask(older, "SELECT version_num FROM alembic_version") == "0003"
    revisions.prepare(older, site.home)
    assert structure(older) == structure(today)
    columns = text("SELECT id, made_at, half_life_s, access_count, number FROM cube ORDER BY id")
    with today.read() as one, older.read() as other:
        assert other.execute(columns).all() == one.execute(columns).all()
    older.close()
    today.close()
    records = site.records(old_place)
    assert every_head(records, 3) == heads
    assert records.check() == []
    records.close()


def test_GOV_9_receipts_of_older_versions_are_gone_on_with(site: Site) -> None:
    place, old_place = site.place(), site.place()
    records = site.records(place)
    records.take(3, "shard-0", 1)
    bodies = {
        "pending": (b'{"signature":""}', "receipt_waiting"),
        "collected:7": (b'{"signature":""}', "receipt_waiting"),
        "signed": (b'{"signature":"00ff"}', "receipt"),
        "collected:8": (b'{"signature":"00ff"}', "receipt_collected"),
    }
    for name, (body, _) in bodies.items():
        row = Derivation("default", "receipt", name, "notes", "", 0, body)
        records.save_derivation(3, 1, row)
    records.save_derivation(3, 1, Derivation("default", "lesson", "collected:9", "n", "", 0, b"{}"))
    records.close()
    today, older = site.open(place), site.open(old_place)
    _copy_to_revision(today, older, "0004")
    revisions.prepare(older, site.home)
    kinds = text("SELECT name, kind FROM derivation ORDER BY name")
    with older.read() as connection:
        found = {name: kind for name, kind in connection.execute(kinds)}
    assert found == {"collected:9": "lesson"} | {name: kind for name, (_, kind) in bodies.items()}
    older.close()
    today.close()


def _copy_to_revision(today: Database, older: Database, revision: str, *later_columns: str) -> None:
    """Makes a database as it was at a revision, with the same rows."""
    with today.read() as source, older.write() as target:
        revisions.upgrade(target, History(revision, HISTORY.folders))
        for table in METADATA.sorted_tables:
            columns = [c for c in table.c if c.name not in later_columns]
            rows = [dict(row._mapping) for row in source.execute(select(*columns))]
            if rows:
                target.execute(table.insert(), rows)


def test_a_migration_that_fails_leaves_everything_as_it_was(
    site: Site, filled: str, later: Callable[[str], History]
) -> None:
    database = site.open(filled)
    before = structure(database)
    with pytest.raises(StoreError, match="the store failed"):
        revisions.prepare(site.open(filled), site.home, later(BROKEN))
    assert structure(database) == before
    database.close()
    records = site.records(filled)
    key = key_of(make_cube(id="kept"))
    assert records.heads(3, [key])[key].text == "kept"
    assert records.check() == []
    records.close()


def test_data_of_a_newer_version_is_refused_and_left_alone(
    site: Site, filled: str, later: Callable[[str], History]
) -> None:
    revisions.prepare(site.open(filled), site.home, later(GOOD)).close()
    with pytest.raises(StoreVersionError) as caught:
        site.records(filled).fence(3)
    assert caught.value.details["found"] == "9999"
    assert caught.value.details["expected"] == HISTORY.head
    database = site.open(filled)
    assert ask(database, "SELECT version_num FROM alembic_version") == "9999"
    database.close()


def test_a_database_of_another_program_is_refused_and_left_alone(site: Site) -> None:
    place = site.place()
    database = site.open(place)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
        connection.execute(text("ANALYZE"))
    before = structure(database)
    with pytest.raises(StoreVersionError, match="another program"):
        site.records(place).fence(3)
    assert structure(database) == before
    database.close()


def test_a_database_for_another_purpose_is_refused_and_not_migrated(
    site: Site, filled: str, later: Callable[[str], History]
) -> None:
    with pytest.raises(StoreCorruptError, match="another purpose"):
        revisions.prepare(site.open(filled), "elsewhere", later(GOOD))
    database = site.open(filled)
    assert ask(database, "SELECT version_num FROM alembic_version") == HISTORY.head
    database.close()


def test_a_file_of_another_partition_is_noticed(tmp_path: Path) -> None:
    records = SqlRecordStore.embedded(tmp_path)
    for partition in (1, 2):
        records.take(partition, "shard-0", 1)
    records.close()
    shutil.copy(tmp_path / "p0001.sqlite", tmp_path / "p0002.sqlite")
    again = SqlRecordStore.embedded(tmp_path)
    assert again.fence(1).epoch == 1
    with pytest.raises(StoreCorruptError, match="another purpose"):
        again.fence(2)
    assert len(again.check()) == 1
    again.close()


def test_the_control_store_looks_at_the_version_too(
    tmp_path: Path, later: Callable[[str], History]
) -> None:
    SqlControlStore.embedded(tmp_path).close()
    database = open_file(tmp_path / "control.sqlite")
    revisions.prepare(database, "control", later(GOOD)).close()
    with pytest.raises(StoreVersionError):
        SqlControlStore.embedded(tmp_path)


def test_no_condition_makes_the_server_join_cubes_and_labels(site: Site) -> None:
    """Joined under wrong estimates, a namespace would meet all labels of its partition."""
    if not site.on_server:
        pytest.skip("SQLite's planner has fixed statistics")
    database = revisions.prepare(site.open(site.place()), site.home)
    for predicate in (
        HasAny("tags", ("red",)),
        Not(HasAny("readers", ("user:ann",))),
        Present("attributes.size"),
        Between("attributes.size", 1, 2),
    ):
        statement = select(cube.c.id).where(cube.c.partition == 1, compile_predicate(predicate))
        sql = statement.compile(database.reader, compile_kwargs={"literal_binds": True})
        with database.read() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN {sql}".replace("%", "%%")).scalars().all()
        assert any("SubPlan" in line for line in plan)
        assert not any("Join" in line or "Nested Loop" in line for line in plan)
    database.close()
