"""What the vector store survives: killed processes, damaged files, engines that do not answer."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from pymilvus import MilvusClient

from memos_ray.adapters.milvus import (
    MilvusSettings,
    MilvusVectorStore,
    collection_name,
    open_vector_store,
)
from memos_ray.adapters.milvus_lite import LiteBackend
from memos_ray.core.cube.predicate import Everything, HasAny
from memos_ray.errors import DataFolderInUseError, VectorStoreError
from memos_ray.ports import VectorRecord
from memos_ray.testing.cubes import make_cube
from memos_ray.testing.milvus_server import MilvusServer, MilvusUnavailableError
from memos_ray.testing.vectors import make_record, make_space, random_vectors

SPACE = make_space(8, "faults")
VECTORS = random_vectors(200)
AWAY = "Milvus is away"
"""What is said without asking the engine."""

pytestmark = pytest.mark.fault


def records(first: int, last: int, partition: int = 0, tag: str = "old") -> list[VectorRecord]:
    return [
        make_record(make_cube(id=f"c{i}", tags=(tag,)), VECTORS[i % 200], partition)
        for i in range(first, last)
    ]


def found(store: MilvusVectorStore, partition: int = 0, tag: str | None = None) -> set[str]:
    predicate = Everything() if tag is None else HasAny("tags", (tag,))
    hits = store.search(SPACE, partition, "acme", "notes", predicate, VECTORS[0], 16_384)
    return {cube_id for cube_id, _ in hits}


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except VectorStoreError:
        return False
    return True


def refused_at_once(call: Callable[[], object]) -> bool:
    """Whether the call is refused without asking the engine, hence without waiting for it."""
    with pytest.raises(VectorStoreError) as caught:
        call()
    return caught.value.message == AWAY


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def open_lite(path: Path) -> tuple[MilvusVectorStore, LiteBackend]:
    backend = LiteBackend(path, MilvusSettings(connect_s=10.0, search_s=30.0))
    return MilvusVectorStore(backend), backend


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was not closed: partition 0 in data files with deletions, 1 in the log only."""
    path = tmp_path_factory.mktemp("filled") / "vectors"
    store, backend = open_lite(path)
    store.drop(SPACE, 0)
    store.upsert(SPACE, records(0, 40))
    store.delete(SPACE, 0, [record.key for record in records(0, 5)])
    store.close()
    shutil.copytree(path / "engine", path / "backup")
    store, backend = open_lite(path)
    store.drop(SPACE, 1)
    store.upsert(SPACE, records(20, 30, tag="new"))
    store.upsert(SPACE, records(0, 10, partition=1))
    assert backend.engine_pid is not None
    os.kill(backend.engine_pid, signal.SIGKILL)
    store.close()
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    """A copy of the filled store."""
    return Path(shutil.copytree(filled, tmp_path / "vectors"))


def test_an_unclosed_store_opens_with_everything(path: Path) -> None:
    store, _ = open_lite(path)
    assert store.losses() == ()
    assert found(store) == {f"c{i}" for i in range(5, 40)}
    assert found(store, tag="new") == {f"c{i}" for i in range(20, 30)}
    assert (store.count(SPACE, 0), store.count(SPACE, 1)) == (35, 10)
    assert not store.needs_rebuild(SPACE, 0)
    assert store.needs_rebuild(SPACE, 2)
    store.close()


def _only(folder: Path, pattern: str) -> Path:
    files = sorted(folder.rglob(pattern), key=lambda file: file.stat().st_size)
    assert files, f"no {pattern} below {folder}"
    return files[-1]


def _garble(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(size // 3)
        stream.write(b"\xa5" * max(8, size // 3))


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _replace_with_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"SQLite format 3\0 something else")


def _forget_a_row(path: Path) -> None:
    """The ledger knows a row that the engine never had, as after a lost write."""
    with sqlite3.connect(path / "ledger.db") as database:
        database.execute("UPDATE held SET stamp = stamp + 1 WHERE stamp = 1")


def _restore_backup(path: Path) -> None:
    shutil.rmtree(path / "engine")
    (path / "backup").rename(path / "engine")


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "log truncated": lambda path: _truncate(_only(path / "engine", "wal_data_*.arrow")),
    "log gone": lambda path: _only(path / "engine", "wal_data_*.arrow").unlink(),
    "data garbled": lambda path: _garble(_only(path / "engine", "data_*.parquet")),
    "data gone": lambda path: _only(path / "engine", "data_*.parquet").unlink(),
    "manifests gone": lambda path: _remove((path / "engine").rglob("manifest.json*")),
    "schema garbled": lambda path: _garble(_only(path / "engine", "schema.json")),
    "schema gone": lambda path: _only(path / "engine", "schema.json").unlink(),
    "engine's folder gone": lambda path: shutil.rmtree(path / "engine"),
    "an old backup restored": _restore_backup,
    "ledger gone": lambda path: _remove(path.glob("ledger.db*")),
    "ledger garbled": lambda path: _garble(path / "ledger.db"),
    "ledger ahead of the engine": _forget_a_row,
    "a file instead of a folder": _replace_with_file,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_noticed_moved_aside_and_reported(
    path: Path, damage: Callable[[Path], object]
) -> None:
    damage(path)
    store, _ = open_lite(path)
    (loss,) = store.losses()
    assert loss.reason
    assert Path(loss.moved_to).exists()
    assert Path(loss.moved_to).name == "vectors.corrupt-1"
    assert store.needs_rebuild(SPACE, 0)
    with pytest.raises(VectorStoreError):
        found(store)
    store.drop(SPACE, 0)
    store.upsert(SPACE, records(0, 3))
    assert found(store) == {"c0", "c1", "c2"}
    assert not store.needs_rebuild(SPACE, 0)
    store.close()


def test_deletions_that_are_lost_are_made_good(path: Path) -> None:
    """A tombstone file that vanishes brings deleted rows back; the ledger knows better."""
    _only(path / "engine", "delta_*.parquet").unlink()
    store, _ = open_lite(path)
    assert store.losses() == ()
    assert found(store) == {f"c{i}" for i in range(5, 40)}
    store.close()


def test_a_second_owner_is_refused(path: Path) -> None:
    store, _ = open_lite(path)
    with pytest.raises(DataFolderInUseError):
        open_vector_store(str(path))
    store.close()
    open_vector_store(str(path)).close()


def test_a_killed_engine_comes_back_by_itself(path: Path) -> None:
    store, backend = open_lite(path)
    before = found(store)
    first = backend.engine_pid
    assert first is not None
    heard: list[str] = []

    def answers() -> bool:
        try:
            found(store)
        except VectorStoreError as error:
            heard.append(error.message)
            return False
        # Until the signal has reached it, the old one answers.
        return backend.engine_pid not in (None, first)

    os.kill(first, signal.SIGKILL)
    eventually(answers)
    assert AWAY in heard, heard
    assert found(store) == before
    assert store.losses() == ()
    store.upsert(SPACE, records(50, 60))
    assert store.count(SPACE, 0) == 45
    store.close()


def test_a_frozen_engine_costs_one_timeout_and_is_replaced(path: Path) -> None:
    # Enough for an engine on a busy machine, and not long to wait for one that is frozen.
    backend = LiteBackend(path, MilvusSettings(connect_s=1.0, search_s=3.0))
    store = MilvusVectorStore(backend)
    # A busy machine may not have it connected the first time.
    eventually(lambda: works(lambda: found(store)))
    before = found(store)
    frozen = backend.engine_pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    # The signal reaches one thread first; until that has run, the others go on.
    eventually(lambda: psutil.Process(frozen).status() == psutil.STATUS_STOPPED)
    assert not works(lambda: found(store))
    assert refused_at_once(lambda: found(store))
    eventually(lambda: works(lambda: found(store)))
    assert found(store) == before
    assert not alive(frozen)
    store.close()


def test_an_engine_ends_with_the_store(path: Path) -> None:
    store, backend = open_lite(path)
    pid = backend.engine_pid
    assert pid is not None
    store.close()
    assert not alive(pid)


def test_the_engine_listens_nowhere_but_on_its_socket(path: Path) -> None:
    store, backend = open_lite(path)
    inodes = {
        os.readlink(link).removeprefix("socket:[").removesuffix("]")
        for link in Path(f"/proc/{backend.engine_pid}/fd").iterdir()
        if os.readlink(link).startswith("socket:")
    }
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = Path(f"/proc/{backend.engine_pid}/net/{table}").read_text().splitlines()[1:]
        assert not inodes & {line.split()[9] for line in lines}
    store.close()


WRITER = """
import sys
from pathlib import Path
from memos_ray.adapters.milvus import MilvusSettings, MilvusVectorStore
from memos_ray.adapters.milvus_lite import LiteBackend
from memos_ray.testing.cubes import make_cube
from memos_ray.testing.vectors import make_record, make_space, random_vectors
space, vectors = make_space(8, "faults"), random_vectors(200)
backend = LiteBackend(Path(sys.argv[1]), MilvusSettings())
store = MilvusVectorStore(backend)
print(backend.engine_pid, flush=True)
for start in range(100, 100_000, 10):
    cubes = [make_cube(id=f"c{i}", tags=("mine",)) for i in range(start, start + 10)]
    store.upsert(space, [make_record(c, vectors[i], 0) for i, c in enumerate(cubes)])
    if start >= 120:
        store.delete(space, 0, [make_record(c, vectors[0], 0).key for c in cubes[:2]])
    print(start + 10, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [110, 260])
def test_a_killed_owner_loses_no_acknowledged_row(path: Path, acknowledged: int) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    engine = int(owner.stdout.readline())
    last = 100
    while last < acknowledged:
        last = int(owner.stdout.readline())
    owner.kill()
    last = max([last, *map(int, owner.stdout.read().split())])
    owner.stdout.close()
    owner.wait()
    store, _ = open_lite(path)
    assert not alive(engine)
    assert store.losses() == ()
    expected = {f"c{i}" for i in range(100, last) if i < 120 or i % 10 >= 2}
    assert expected <= found(store, tag="mine")
    under_way = {f"c{i}" for i in range(last, last + 10)}
    assert found(store, tag="mine") <= expected | under_way
    store.close()


def test_an_acknowledged_write_survives_the_crash_after_next(path: Path) -> None:
    """Rows that were on their way in one crash are neither lost nor taken for a loss later."""
    for round_ in range(2):
        store, backend = open_lite(path)
        assert store.losses() == ()
        store.upsert(SPACE, records(100 * round_, 100 * round_ + 20, tag=f"round {round_}"))
        assert backend.engine_pid is not None
        os.kill(backend.engine_pid, signal.SIGKILL)
        with pytest.raises(VectorStoreError):
            for _ in range(1_000):
                store.upsert(SPACE, records(0, 20, tag="under way"))
        store.close()
    store, _ = open_lite(path)
    assert store.losses() == ()
    assert {f"c{i}" for i in range(100, 120)} <= found(store)
    store.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.mark.parametrize("kind", ["silent", "absent"])
def test_a_dead_server_delays_nobody(silent_port: int, kind: str) -> None:
    port = silent_port if kind == "silent" else 9
    store = open_vector_store(f"http://127.0.0.1:{port}", MilvusSettings(connect_s=0.5))
    for _ in range(3):
        assert refused_at_once(lambda: store.prepare(SPACE))
        assert refused_at_once(lambda: found(store))
        assert refused_at_once(lambda: store.upsert(SPACE, records(0, 1)))
    store.close()


def test_vectors_survive_exactly(path: Path) -> None:
    """Whatever precision the engine keeps, a cosine of a vector with itself is one."""
    store, _ = open_lite(path)
    hits = store.search(SPACE, 0, "acme", "notes", Everything(), VECTORS[7], 1)
    assert hits == [("c7", pytest.approx(1.0, abs=1e-6))]
    assert np.isfinite(hits[0][1])
    store.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    try:
        running = MilvusServer(tmp_path_factory.mktemp("milvus"))
        running.start()
    except MilvusUnavailableError as error:
        pytest.skip(f"no Milvus server here: {error}")
    yield running
    running.kill()


def test_a_killed_server_costs_one_timeout_and_comes_back_by_itself(server: MilvusServer) -> None:
    store = open_vector_store(server.uri, MilvusSettings(connect_s=30.0, search_s=5.0))
    store.drop(SPACE, 0)
    store.upsert(SPACE, records(0, 30))
    assert len(found(store)) == 30
    server.kill()
    assert not works(lambda: found(store))
    assert refused_at_once(lambda: found(store))
    assert refused_at_once(lambda: store.upsert(SPACE, records(0, 1)))
    server.start()
    eventually(lambda: works(lambda: found(store)))
    assert len(found(store)) == 30
    assert not store.needs_rebuild(SPACE, 0)
    store.upsert(SPACE, records(30, 31))
    assert len(found(store)) == 31
    store.close()


def test_a_collection_dropped_behind_our_back_is_noticed(server: MilvusServer) -> None:
    store = open_vector_store(server.uri, MilvusSettings(connect_s=30.0, search_s=30.0))
    store.drop(SPACE, 3)
    store.upsert(SPACE, records(0, 5, partition=3))
    assert not store.needs_rebuild(SPACE, 3)
    client = MilvusClient(server.uri, dedicated=True)
    client.drop_collection(collection_name(SPACE))
    client.close()
    with pytest.raises(VectorStoreError):
        found(store, 3)
    assert store.needs_rebuild(SPACE, 3)
    store.drop(SPACE, 3)
    store.upsert(SPACE, records(0, 5, partition=3))
    assert len(found(store, 3)) == 5
    assert not store.needs_rebuild(SPACE, 3)
    store.close()
