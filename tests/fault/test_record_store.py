"""What the record store survives: lost connections, killed servers, full disks, damaged files."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from memos_ray.adapters.sql import revisions
from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.adapters.sql.engine import Database, open_file
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.predicate import Everything
from memos_ray.core.vault.log import ControlChange
from memos_ray.errors import (
    ConfigurationError,
    FencedError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    UnavailableError,
)
from memos_ray.ports import RecordStorePort
from memos_ray.testing.cubes import make_commit, make_cube, next_version
from memos_ray.testing.postgres_server import PostgresServer
from memos_ray.testing.record_backends import Backend, Owner, on_postgres, on_sqlite

pytestmark = pytest.mark.fault

P = 7
PAGE = 8_192


def texts(records: RecordStorePort) -> set[str]:
    return {cube.text for cube in records.scan(P, "acme", "notes", Everything(), None, 10_000)}


def eventually_writes(owner: Owner, cube: MemCube) -> None:
    """Writes as callers do who are told to try again; each attempt may wait for a connection."""
    for _ in range(50):
        try:
            owner.commit(cube)
        except UnavailableError:
            continue
        return
    raise AssertionError("the store does not come back")


@pytest.fixture
def backend(postgres: PostgresServer) -> Iterator[Backend]:
    """A store on the server, with one memory in it."""
    made = on_postgres(postgres)
    made.store.take(P, "shard-0", 1)
    Owner(made.store, P).commit(make_cube("before"))
    yield made
    made.store.close()


class TestServer:
    def test_a_session_that_is_ended_costs_a_retry(
        self, backend: Backend, postgres: PostgresServer
    ) -> None:
        records, owner = backend.store, Owner(backend.store, P)
        assert backend.query is not None
        for _ in range(3):
            backend.query(
                P,
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE application_name = 'memos-ray' AND datname = current_database()",
            )
            with pytest.raises(UnavailableError) as caught:
                records.last_lsn(P)
            assert caught.value.retryable
            owner.commit(make_cube("after"))
        assert texts(records) == {"before", "after"}

    def test_a_commit_cut_off_in_the_middle_leaves_nothing(
        self, backend: Backend, postgres: PostgresServer
    ) -> None:
        """The session dies while it waits for a lock, with half of the commit written."""
        records, owner = backend.store, Owner(backend.store, P)
        cube = make_cube("in the way")
        owner.commit(cube)
        commit = make_commit(
            [make_cube("half"), next_version(cube, text="new")], after=2, partition=P
        )
        with postgres.connect(backend.place) as other, ThreadPoolExecutor(1) as pool:
            other.execute("BEGIN")
            other.execute("SELECT * FROM cube WHERE id = %s FOR UPDATE", [cube.id])
            writing = pool.submit(records.commit, commit)
            _wait_for_lock(postgres, backend)
            with postgres.connect(backend.place) as third:
                third.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE application_name = 'memos-ray' AND wait_event_type = 'Lock'"
                )
            with pytest.raises(UnavailableError):
                writing.result()
            other.execute("ROLLBACK")
        assert texts(records) == {"before", "in the way"}
        assert records.last_lsn(P) == 2
        records.commit(commit)
        assert texts(records) == {"before", "half", "new"}
        assert records.check() == []

    def test_a_lock_that_is_held_for_long_is_no_endless_wait(
        self, backend: Backend, postgres: PostgresServer
    ) -> None:
        records = backend.store
        with postgres.connect(backend.place) as other:
            other.execute("BEGIN")
            other.execute(f"SELECT * FROM fence WHERE partition = {P} FOR UPDATE")
            with pytest.raises(UnavailableError) as caught:
                Owner(records, P).commit(make_cube("late"))
            assert caught.value.details["reason"] == "55P03"
            other.execute("ROLLBACK")
        Owner(records, P).commit(make_cube("in time"))
        assert texts(records) == {"before", "in time"}

    @pytest.mark.parametrize("state", ["deadlock_detected", "serialization_failure"])
    def test_a_transaction_that_is_sacrificed_runs_again(
        self, backend: Backend, postgres: PostgresServer, state: str
    ) -> None:
        """A sequence counts the attempts, since a rollback does not turn it back."""
        records = backend.store
        with postgres.connect(backend.place) as other:
            other.execute("CREATE SEQUENCE attempts")
            other.execute(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF nextval('attempts') <= 3 THEN"
                f"   RAISE EXCEPTION 'chosen as victim' USING ERRCODE = '{state}';"
                " END IF; RETURN NEW; END $$"
            )
            for table in ("cube", "document"):
                other.execute(
                    f"CREATE TRIGGER fail BEFORE INSERT ON {table}"
                    " FOR EACH ROW EXECUTE FUNCTION fail()"
                )
            Owner(records, P).commit(make_cube("fourth attempt"))
            assert texts(records) == {"before", "fourth attempt"}
            assert records.last_lsn(P) == 2
            other.execute("ALTER SEQUENCE attempts RESTART")
            control = SqlControlStore.clustered(backend.place)
            control.commit([ControlChange("acme", "grant", "a", b"{}", 0)], [])
            control.close()
            other.execute("ALTER SEQUENCE attempts RESTART MINVALUE -100 START -100")
            other.execute("SELECT setval('attempts', -100)")
            with pytest.raises(UnavailableError) as caught:
                Owner(records, P).commit(make_cube("given up"))
            assert caught.value.retryable
        assert texts(records) == {"before", "fourth attempt"}

    def test_what_was_acknowledged_survives_the_server(
        self, backend: Backend, postgres: PostgresServer
    ) -> None:
        """The server's own setting would forget commits; sessions of the store do not let it."""
        records, owner = backend.store, Owner(backend.store, P)
        acknowledged = {"before"}
        for number in range(20):
            owner.commit(make_cube(f"number {number}"))
            acknowledged.add(f"number {number}")
        postgres.kill()
        try:
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    records.last_lsn(P)
            with pytest.raises(UnavailableError):
                owner.commit(make_cube("nowhere"))
        finally:
            postgres.start()
        eventually_writes(owner, make_cube("after"))
        assert texts(records) == acknowledged | {"after"}
        assert records.last_lsn(P) == 22
        assert records.check() == []

    def test_a_server_killed_under_writers_leaves_each_commit_whole(
        self, backend: Backend, postgres: PostgresServer
    ) -> None:
        records = backend.store
        lanes = [P + 1, P + 2]
        for lane in lanes:
            records.take(lane, "shard-0", 1)

        def write(lane: int) -> list[int]:
            done: list[Any] = []
            for number in range(100_000):
                try:
                    Owner(records, lane).commit(
                        *(make_cube(id=f"{number}-{part}") for part in range(5))
                    )
                except UnavailableError:
                    return done
                done.append(number)
            raise AssertionError("the server was never away")

        with ThreadPoolExecutor(2) as pool:
            writing = [pool.submit(write, lane) for lane in lanes]
            while min(records.last_lsn(lane) for lane in lanes) < 25:
                time.sleep(0.01)
            postgres.kill()
            done = [future.result() for future in writing]
        postgres.start()
        for lane, numbers in zip(lanes, done, strict=True):
            last = _eventually_read(partial(records.last_lsn, lane))
            held = records.scan(lane, "acme", "notes", Everything(), None, 1_000_000)
            groups = [cube.id.partition("-")[0] for cube in held]
            assert len(held) == last
            assert {groups.count(group) for group in set(groups)} == {5}
            # One commit was under way; whether it happened, only reading tells.
            assert set(map(str, numbers)) <= set(groups)
            assert len(set(groups)) - len(numbers) in (0, 1)
        assert records.check() == []

    def test_a_full_disk_is_named_and_reads_go_on(
        self, backend: Backend, postgres: PostgresServer
    ) -> None:
        records, owner = backend.store, Owner(backend.store, P)
        noise = os.urandom(600_000).hex()
        # In the middle of a page: the kernel then writes a part of it, as a full disk would.
        postgres.limit_files(300 * PAGE + PAGE // 2)
        try:
            with pytest.raises(StoreFullError):
                for number in range(10):
                    owner.commit(make_cube(f"{number} {noise}", id=f"big-{number}"))
            written = records.last_lsn(P)
            assert "before" in texts(records)
            with pytest.raises(StoreFullError):
                owner.commit(make_cube(noise), make_cube("with it"))
        finally:
            postgres.unlimit_files()
        assert records.last_lsn(P) == written
        assert "with it" not in texts(records)
        owner.commit(make_cube("space again"))
        assert "space again" in texts(records)
        assert records.check() == []

    def test_a_server_that_is_not_there_is_unavailable(self, postgres: PostgresServer) -> None:
        url = make_url(postgres.new_database())
        for bad in (url.set(port=9), url.set(database="absent"), url.set(password="wrong")):
            with pytest.raises(UnavailableError) as caught:
                SqlRecordStore.clustered(bad.render_as_string(hide_password=False))
            assert str(bad.password) not in str(caught.value)
            assert "127.0.0.1" in str(caught.value)

    @pytest.mark.parametrize("url", ["", "not a url", "sqlite:///file", "mysql://host/db"])
    def test_a_url_of_something_else_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            SqlRecordStore.clustered(url)


class TestFiles:
    def test_a_full_store_is_named_and_reads_go_on(self, tmp_path: Path) -> None:
        """SQLite's own limit fails exactly as a full disk does, at the page that does not fit."""
        opened: list[Database] = []

        def open_one(partition: int) -> Database:
            home = f"p{partition:04}"
            opened.append(revisions.prepare(open_file(tmp_path / f"{home}.sqlite"), home))
            return opened[-1]

        def limit(pages: int) -> None:
            with opened[0].writer.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

        records = SqlRecordStore(open_one)
        records.take(P, "shard-0", 1)
        owner = Owner(records, P)
        owner.commit(make_cube("before"))
        limit(1)
        written = 0
        with pytest.raises(StoreFullError) as caught:
            for written in range(1_000):
                owner.commit(make_cube(f"{written} " + "x" * 4_000), make_cube("and one more"))
        assert not caught.value.retryable
        assert records.last_lsn(P) == 1 + 2 * written
        assert len(records.scan(P, "acme", "notes", Everything(), None, 10_000)) == 1 + 2 * written
        limit(1_000_000)
        owner.commit(make_cube("space again"))
        assert {"before", "space again"} <= texts(records)
        assert records.check() == []
        records.close()

    def test_a_limit_on_file_sizes_is_an_error_without_effect(self, tmp_path: Path) -> None:
        records = SqlRecordStore.embedded(tmp_path)
        records.take(P, "shard-0", 1)
        owner = Owner(records, P)
        owner.commit(make_cube("before"))
        with limited_files(200_000), pytest.raises(StoreError):
            for number in range(1_000):
                owner.commit(make_cube(f"{number}" + "x" * 4_000))
        written = records.last_lsn(P)
        assert len(texts(records)) == written
        owner.commit(make_cube("space again"))
        assert records.last_lsn(P) == written + 1
        assert records.check() == []
        records.close()

    def test_a_full_disk(self, tmp_path: Path) -> None:
        """On a real file system of a few megabytes, in a mount namespace of its own."""
        command = ["unshare", "--user", "--map-root-user", "--mount"]
        mount = "mount -t tmpfs -o size=5m tmpfs {} && exec {} -m {} {}".format(
            tmp_path, sys.executable, "tests.fault.full_disk", tmp_path
        )
        probe = subprocess.run(
            [*command, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)],
            capture_output=True,
            check=False,
        )
        if probe.returncode:
            pytest.skip("this user may not mount anything, not even for itself")
        subprocess.run([*command, "sh", "-c", mount], check=True)

    @pytest.mark.parametrize("where", ["header", "everywhere"])
    def test_a_damaged_file_is_named(self, damaged: Path, where: str) -> None:
        file = damaged / f"p{P:04}.sqlite"
        size = file.stat().st_size
        with file.open("r+b") as stream:
            if where == "header":
                stream.write(b"\xa5" * 100)
            else:
                for offset in range(4_096 + 50, size, 4_096):
                    stream.seek(offset)
                    stream.write(b"\xa5" * 4_000)
        before = file.read_bytes()
        records = SqlRecordStore.embedded(damaged)
        with pytest.raises(StoreCorruptError) as caught:
            texts(records)
        assert not caught.value.retryable
        with pytest.raises(StoreCorruptError):
            Owner(records, P).commit(make_cube("onto the ruins"))
        assert records.check()
        records.take(P + 1, "shard-0", 1)
        Owner(records, P + 1).commit(make_cube("other partitions work"))
        records.close()
        assert file.read_bytes() == before

    def test_a_file_cut_short_is_named(self, damaged: Path) -> None:
        file = damaged / f"p{P:04}.sqlite"
        os.truncate(file, file.stat().st_size // 2)
        records = SqlRecordStore.embedded(damaged)
        with pytest.raises(StoreCorruptError):
            texts(records)
        records.close()

    @pytest.mark.parametrize("empty", [False, True])
    def test_a_lost_file_is_named_and_not_made_anew(self, damaged: Path, empty: bool) -> None:
        file = damaged / f"p{P:04}.sqlite"
        for path in damaged.glob(f"p{P:04}.sqlite*"):
            path.unlink()
        if empty:
            file.touch()
        records = SqlRecordStore.embedded(damaged)
        with pytest.raises(StoreCorruptError) as caught:
            texts(records)
        with pytest.raises(StoreCorruptError):
            records.take(P, "shard-0", 9)
        assert not file.exists() or file.stat().st_size == 0
        Path(str(caught.value.details["mark"])).unlink()
        assert texts(records) == set()
        records.close()

    def test_damage_between_rows_is_found(self, damaged: Path) -> None:
        with closing(sqlite3.connect(damaged / f"p{P:04}.sqlite")) as connection:
            connection.execute("DELETE FROM version WHERE cube_id = (SELECT min(id) FROM cube)")
            connection.execute("DELETE FROM event WHERE lsn = 3")
            connection.commit()
        records = SqlRecordStore.embedded(damaged)
        found = records.check()
        assert any("newest version" in sentence for sentence in found)
        assert any("gaps" in sentence for sentence in found)
        records.close()

    def test_a_folder_that_may_not_be_used_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        records = SqlRecordStore.embedded(tmp_path / "file" / "records")
        with pytest.raises(StoreError):
            records.fence(P)
        records.close()

    def test_files_are_their_owners_alone(self, damaged: Path) -> None:
        records = SqlRecordStore.embedded(damaged)
        Owner(records, P).commit(make_cube())
        assert {file.stat().st_mode & 0o077 for file in damaged.iterdir()} == {0}
        records.close()

    def test_what_was_erased_is_in_no_file(self, tmp_path: Path) -> None:
        """Freed pages are overwritten, and the write-ahead log does not keep them either."""
        secret = "the walrus was paid in cash"
        records = SqlRecordStore.embedded(tmp_path)
        records.take(P, "shard-0", 1)
        cube = make_cube(secret, tags=("walrus-tag",))
        Owner(records, P).commit(cube, make_cube("kept"))
        assert any(secret.encode() in file.read_bytes() for file in tmp_path.iterdir())
        Owner(records, P).commit(erased=[cube])
        for file in tmp_path.iterdir():
            content = file.read_bytes()
            assert secret.encode() not in content, file.name
            assert b"walrus-tag" not in content, file.name
        records.close()

    def test_a_writer_of_another_process_is_fenced_or_waited_for(self, tmp_path: Path) -> None:
        records = SqlRecordStore.embedded(tmp_path)
        records.take(P, "shard-0", 1)
        other = SqlRecordStore.embedded(tmp_path)
        other.take(P, "shard-1", 2)
        Owner(other, P, 2).commit(make_cube("theirs"))
        with pytest.raises(FencedError):
            Owner(records, P).commit(make_cube("mine"))
        assert texts(records) == {"theirs"}
        with closing(sqlite3.connect(tmp_path / f"p{P:04}.sqlite")) as third:
            third.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError) as caught:
                Owner(other, P, 2).commit(make_cube("busy"))
            assert caught.value.details["reason"] == "SQLITE_BUSY"
        Owner(other, P, 2).commit(make_cube("free"))
        assert texts(other) == {"theirs", "free"}
        records.close()
        other.close()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The folder of a closed store with 200 memories, to be damaged."""
    folder = tmp_path / "sound"
    made = on_sqlite(folder)
    made.store.take(P, "shard-0", 1)
    Owner(made.store, P).commit(*(make_cube(f"number {n} " + "x" * 300) for n in range(200)))
    made.store.close()
    return folder


@contextmanager
def limited_files(size_bytes: int) -> Iterator[None]:
    """Lets no file of this process grow beyond a size; the kernel's signal is off in Python."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _eventually_read(read: Callable[[], int]) -> int:
    for _ in range(50):
        try:
            return read()
        except UnavailableError:
            continue
    raise AssertionError("the store does not come back")


def _wait_for_lock(postgres: PostgresServer, backend: Backend) -> None:
    with postgres.connect(backend.place) as watcher:
        while not watcher.execute(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE application_name = 'memos-ray' AND wait_event_type = 'Lock'"
        ).fetchall():
            time.sleep(0.01)
