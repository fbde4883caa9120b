"""The folder of an embedded Ray: private, short, and cleared up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_ray import ConfigurationError
from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.scratch import scratch_folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder for temporary files, with a short name."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    made.create()
    return made


def session(scratch: Path, number: int, pid: int = 999_999_999) -> Path:
    made = scratch / f"session_2026-01-0{number}_00-00-00_000000_{pid}"
    made.mkdir()
    (made / "log").write_text("x")
    return made


def test_nobody_else_can_enter_it(short: Path, data: DataFolder) -> None:
    scratch = scratch_folder(data)
    assert scratch.parent.parent == short
    assert scratch.parent.stat().st_mode & 0o077 == 0
    longest = scratch / "session_2026-11-28_06-24-32_745404_4194304/sockets/plasma_store"
    assert len(os.fsencode(longest)) <= 107
    assert os.readlink(data.run / "ray") == str(scratch / "session_latest" / "logs")
    assert scratch_folder(data) == scratch


def test_a_name_that_somebody_else_has_taken_is_refused(short: Path, data: DataFolder) -> None:
    root = short / f"memos-ray-{os.getuid()}"
    root.mkdir(mode=0o777)
    root.chmod(0o777)
    with pytest.raises(ConfigurationError):
        scratch_folder(data)
    root.rmdir()
    root.symlink_to("/tmp")
    with pytest.raises(ConfigurationError):
        scratch_folder(data)


def test_the_newest_sessions_are_kept(short: Path, data: DataFolder) -> None:
    scratch = scratch_folder(data)
    made = [session(scratch, number) for number in range(1, 6)]
    scratch_folder(data)
    assert [one.exists() for one in made] == [False, False, True, True, True]


def test_what_belongs_to_a_folder_that_is_gone_is_cleared_away(
    short: Path, data: DataFolder, tmp_path: Path
) -> None:
    gone, running, there = (DataFolder(tmp_path / name) for name in ("gone", "running", "there"))
    folders = []
    for other in (gone, running, there):
        other.create()
        folders.append(scratch_folder(other))
    session(folders[1], 1, pid=os.getpid())
    for other in (gone, running):
        other.root.rename(tmp_path / f"moved-{other.root.name}")
    scratch_folder(data)
    assert [one.exists() for one in folders] == [False, True, True]
