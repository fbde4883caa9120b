"""`down` stops the cluster of a folder, and never a stranger."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from memos_ray import DataFolderInUseError, DeadlineExceededError
from memos_ray.cli.cluster.stopping import stop_cluster
from memos_ray.cluster.announcement import RunningCluster, announce, running_cluster
from memos_ray.cluster.folder import DataFolder, FolderLock

# Holds the lock of a folder until it is told to end; deaf to SIGTERM when asked to be.
HOLDER = """
import signal, sys
from pathlib import Path
from memos_ray.cluster.folder import DataFolder, FolderLock
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
FolderLock(DataFolder(Path(sys.argv[1]))).acquire()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path)
    made.create()
    return made


@contextmanager
def holder(folder: DataFolder, kind: str = "") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(folder.root), kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        assert process.poll() is None, "a stranger was stopped"
        process.kill()


def say(folder: DataFolder, pid: int, at: datetime | None = None) -> None:
    """Announces a process as the cluster of a folder."""
    moment = (at or datetime.now(UTC)).isoformat()
    announce(folder, RunningCluster(pid, "http://127.0.0.1:1", "127.0.0.1:2", moment, "0"))


def test_an_announced_holder_of_the_lock_is_stopped(folder: DataFolder) -> None:
    with holder(folder) as process:
        say(folder, process.pid)
        assert stop_cluster(folder.root, 60, kill=False) == process.pid
        assert FolderLock(folder).holder() is None
    assert stop_cluster(folder.root, 60, kill=False) is None


def test_one_that_does_not_listen_is_killed_when_that_is_asked_for(folder: DataFolder) -> None:
    with holder(folder, "deaf") as process:
        say(folder, process.pid)
        with pytest.raises(DeadlineExceededError):
            stop_cluster(folder.root, 0.2, kill=False)
        assert process.poll() is None
        assert stop_cluster(folder.root, 0.2, kill=True) == process.pid
        assert FolderLock(folder).holder() is None


def test_a_dead_cluster_whose_number_a_stranger_has_is_not_running(folder: DataFolder) -> None:
    with stranger() as process:
        say(folder, process.pid)
        assert running_cluster(folder.root) is None
        assert stop_cluster(folder.root, 60, kill=True) is None


def test_a_stale_announcement_does_not_name_the_holder_of_the_lock(folder: DataFolder) -> None:
    with stranger() as process, holder(folder) as program:
        say(folder, process.pid)
        with pytest.raises(DataFolderInUseError) as refused:
            stop_cluster(folder.root, 60, kill=True)
        assert refused.value.details["pid"] == program.pid
        assert program.poll() is None


def test_a_process_younger_than_the_announcement_is_none_of_ours(folder: DataFolder) -> None:
    with holder(folder) as process:
        say(folder, process.pid, at=datetime(2020, 1, 1, tzinfo=UTC))
        assert stop_cluster(folder.root, 60, kill=True) is None
        assert process.poll() is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_damaged_announcement_is_none(folder: DataFolder, content: bytes) -> None:
    folder.state.write_bytes(content)
    assert running_cluster(folder.root) is None


def test_looking_at_the_lock_does_not_take_it(folder: DataFolder) -> None:
    lock = FolderLock(folder)
    assert lock.holder() is None
    with lock:
        assert FolderLock(folder).holder() == os.getpid()
        with pytest.raises(DataFolderInUseError):
            FolderLock(folder).acquire()
    assert lock.holder() is None


def test_who_takes_the_lock_waits_for_who_only_looks(folder: DataFolder) -> None:
    program = """
import sys
from pathlib import Path
from memos_ray.cluster.folder import DataFolder, FolderLock
lock = FolderLock(DataFolder(Path(sys.argv[1])))
print("looking", flush=True)
while not sys.stdin.closed and lock.holder() is None:
    pass
print("held", flush=True)
"""
    command = [sys.executable, "-c", program, str(folder.root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "looking\n"
        with FolderLock(folder):
            assert process.stdout.readline() == "held\n"


def test_a_zombie_that_nobody_collects_has_ended(folder: DataFolder) -> None:
    negligent = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {HOLDER!r}, sys.argv[1], ""])
print(child.pid, flush=True)
input()
"""
    command = [sys.executable, "-c", negligent, str(folder.root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
        [pid] = lines - {"locked"}
        say(folder, int(pid))
        # Far longer than this test may take: it ends because the zombie is recognised.
        assert stop_cluster(folder.root, 3600, kill=False) == int(pid)
        assert psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
        parent.kill()
