"""Checks of `doctor`, on machines and folders that have something wrong with them."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memos_ray.adapters.sql.control import SqlControlStore
from memos_ray.adapters.sql.records import SqlRecordStore
from memos_ray.cli.checks import folder as checks
from memos_ray.cli.checks import machine, parts
from memos_ray.cli.checks.finding import Finding, Grade
from memos_ray.cli.exits import ExitCode
from memos_ray.cli.main import app
from memos_ray.cluster.folder import DataFolder, write_secret
from memos_ray.config import EmbedderKind, EmbedderSettings, Settings, VectorSettings
from memos_ray.core.lifecycle.archive import KIND, Contents, Standing
from memos_ray.ports import Derivation
from memos_ray.testing.cubes import make_commit, make_cube


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    DataFolder(tmp_path / "data").create()
    return Settings(data=tmp_path / "data")


def one(findings: object) -> Finding:
    [found] = list(findings)  # type: ignore[call-overload]
    assert isinstance(found, Finding)
    assert bool(found.advice) is (found.grade is not Grade.OK)
    return found


def test_this_machine_has_what_is_needed(settings: Settings) -> None:
    assert one(machine.python()).grade is Grade.OK
    assert one(machine.packages(settings)).grade is Grade.OK
    assert one(machine.disk(settings)).grade is Grade.OK


def test_a_package_that_is_missing_or_too_old(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        metadata,
        "requires",
        lambda _name: [
            "memos-no-such-package>=1",
            "rich>=1000",
            "memos-no-such-extra; extra == 'postgres'",
            "memos-no-such-platform; sys_platform == 'win32'",
        ],
    )
    found = one(machine.packages(settings))
    assert found.grade is Grade.FAIL
    assert "memos-no-such-package is missing; rich is" in found.found
    assert "extra" not in found.found and "platform" not in found.found


def test_variables_that_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_VAULT__PARTITIONS", "4")
    monkeypatch.setenv("MEMOS_DATA", "data")
    assert one(machine.environment()).grade is Grade.OK
    monkeypatch.setenv("MEMOS_VALUT__PARTITIONS", "of a secret kind")
    found = one(machine.environment())
    assert (found.grade, found.found) == (Grade.WARN, "no settings: MEMOS_VALUT__PARTITIONS")


def test_keys_that_others_may_read(settings: Settings) -> None:
    key = DataFolder(settings.data).admin_key
    write_secret(key, b"secret")
    assert one(checks.permissions(settings)).grade is Grade.OK
    key.chmod(0o640)
    found = one(checks.permissions(settings))
    assert (found.grade, found.advice) == (Grade.FAIL, f"chmod 600 {key}")
    key.chmod(0o600)
    settings.data.chmod(0o755)
    assert one(checks.permissions(settings)).grade is Grade.WARN


def test_data_of_another_version_and_damaged_data(settings: Settings) -> None:
    records = DataFolder(settings.data).records
    assert one(checks.version(settings)).grade is Grade.OK
    SqlControlStore.embedded(records).close()
    assert one(checks.version(settings)).grade is Grade.OK
    with sqlite3.connect(records / "control.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    found = one(checks.version(settings))
    assert found.grade is Grade.WARN and "9999" in found.found
    (records / "p0000.sqlite").write_bytes(b"no database at all" * 100)
    found = one(checks.version(settings))
    assert found.grade is Grade.FAIL and "p0000.sqlite" in found.found


def test_a_port_that_is_taken(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = settings.gateway.model_copy(update={"port": port})
        busy = settings.model_copy(update={"gateway": gateway})
        none_runs, found = checks.running(busy, None)
        assert none_runs.grade is Grade.OK
        assert found.grade is Grade.FAIL and str(port) in found.found
    none_runs, found = checks.running(busy, None)
    assert found.grade is Grade.OK


def test_a_disk_without_room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def usage(free: int) -> object:
        return type("Usage", (), {"free": free})

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1 << 30))
    assert one(machine.disk(settings)).grade is Grade.WARN
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(1 << 20))
    assert one(machine.disk(settings)).grade is Grade.FAIL


def test_the_record_store_commits_and_leaves_nothing(settings: Settings) -> None:
    found = one(parts.record_store(settings))
    assert "flushed commits/s" in found.found
    assert list(settings.data.glob(".*")) == []


def test_milvus_lite_stores_and_finds(settings: Settings) -> None:
    assert one(parts.vector_store(settings)).found == "Lite stores and finds"
    off = settings.model_copy(update={"vectors": VectorSettings(enabled=False)})
    assert one(parts.vector_store(off)).grade is Grade.OK


def test_a_milvus_server_that_is_away(settings: Settings) -> None:
    away = VectorSettings(uri="http://127.0.0.1:1", timeout_s=0.5)
    found = one(parts.vector_store(settings.model_copy(update={"vectors": away})))
    assert found.grade is Grade.FAIL


def test_the_embedder_embeds(settings: Settings) -> None:
    assert "384 dimensions" in one(parts.embedder(settings)).found
    broken = EmbedderSettings(kind=EmbedderKind.CUSTOM, factory="no_such_module:make")
    found = one(parts.embedder(settings.model_copy(update={"embedder": broken})))
    assert found.grade is Grade.FAIL


def test_the_command_reports_and_sets_its_exit_code(settings: Settings) -> None:
    where = ["--quick", "--data", str(settings.data)]
    result = CliRunner().invoke(app, ["doctor", *where, "--json"])
    document = json.loads(result.stdout)
    assert document["status"] in ("ok", "warn"), document
    assert result.exit_code == ExitCode.DONE
    write_secret(DataFolder(settings.data).admin_key, b"secret")
    DataFolder(settings.data).admin_key.chmod(0o644)
    result = CliRunner().invoke(app, ["doctor", *where])
    assert result.exit_code == ExitCode.FAILED
    assert "chmod 600" in result.stdout


def test_VAULT_1_memories_that_cannot_be_read(settings: Settings) -> None:
    assert one(parts.memories(settings)).grade is Grade.OK
    records = DataFolder(settings.data).records
    store = SqlRecordStore.embedded(records)
    store.take(3, "shard", 1)
    cubes = [make_cube(f"walrus {n}", id=f"m{n}") for n in range(9)]
    store.commit(make_commit(cubes, partition=3))
    store.close()
    assert one(parts.memories(settings)).grade is Grade.OK
    with closing(sqlite3.connect(records / "p0003.sqlite")) as connection, connection:
        connection.execute("UPDATE version SET body = x'7b' WHERE cube_id < 'm7'")
    found = one(parts.memories(settings))
    assert found.grade is Grade.WARN and "walrus" not in found.found
    assert found.found.startswith("7 cannot be read") and "m0, m1, m2, m3, m4, ..." in found.found


def test_VAULT_4_archive_files_that_are_set_aside(settings: Settings) -> None:
    assert one(parts.archive(settings)).grade is Grade.OK
    store = SqlRecordStore.embedded(DataFolder(settings.data).records)
    store.take(3, "shard", 1)
    whole = Contents.of(["a"])
    for name, standing in (("ab", Standing.DONE), ("cd", Standing.DAMAGED)):
        body = replace(whole, standing=standing).to_bytes()
        store.save_derivation(3, 1, Derivation("acme", KIND, name, "notes", name, 1, body))
    assert store.check() == [
        f"{DataFolder(settings.data).records / 'p0003.sqlite'}: 1 archive files are damaged or lost"
    ]
    store.close()
    found = one(parts.archive(settings))
    assert found.grade is Grade.WARN and found.found.startswith("1 files")
