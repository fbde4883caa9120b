"""The data folder: one cluster at a time, for no other eyes, refused by name when unusable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memos_ray.cluster.boot import EmbeddedCluster
from memos_ray.cluster.folder import DataFolder, FolderLock, write_secret
from memos_ray.config import Settings
from memos_ray.errors import ConfigurationError, DataFolderInUseError, UnavailableError
from memos_ray.testing.processes import tied

HOLD = """
import sys
from pathlib import Path
from memos_ray.cluster.folder import DataFolder, FolderLock
FolderLock(DataFolder(Path(sys.argv[1]))).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    made.create()
    return made


def test_a_second_cluster_is_refused_until_the_first_is_gone(folder: DataFolder) -> None:
    command = tied([sys.executable, "-c", HOLD, str(folder.root)], os.getpid())
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None and first.stdin is not None
    assert first.stdout.readline() == b"held\n"
    lock = FolderLock(folder)
    assert lock.holder() == first.pid
    with pytest.raises(DataFolderInUseError) as caught:
        lock.acquire()
    assert caught.value.details == {"path": str(folder.root), "pid": first.pid}
    with pytest.raises(DataFolderInUseError):
        EmbeddedCluster(Settings(data=folder.root)).start()
    first.kill()
    first.wait()
    first.stdin.close()
    first.stdout.close()
    with lock:
        assert lock.holder() == os.getpid()
        with pytest.raises(DataFolderInUseError):
            FolderLock(folder).acquire()
    assert lock.holder() is None


def test_nobody_else_may_look(folder: DataFolder) -> None:
    write_secret(folder.admin_key, b"a secret")
    write_secret(folder.admin_key, b"another")
    assert folder.admin_key.read_bytes() == b"another"
    for path in (folder.root, *folder.root.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError) as caught:
        DataFolder(tmp_path / "file").create()
    assert caught.value.details["path"] == str(tmp_path / "file")


def test_a_ray_that_does_not_start_says_why(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(UnavailableError, match="timed out during startup"):
        EmbeddedCluster(Settings(data=folder.root)).start()
    again = FolderLock(folder)
    again.acquire()
    again.release()
