"""`memos-ray up` when something under it dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from memos_ray.cli.exits import ExitCode
from memos_ray.cluster.announcement import running_cluster
from memos_ray.testing.processes import family, wait_until_gone


def _name(process: psutil.Process) -> str:
    """Returns the name of a process; none of one that has ended."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.fault
def test_it_ends_when_a_process_of_ray_has_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "memos_ray.cli", "up", "--port", "0"]
    with subprocess.Popen(
        [*command, "--data", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "answers at" in process.stdout.readline()
        members = family(process.pid)
        [store] = [one for one in members if _name(one) == "gcs_server"]
        store.kill()
        assert process.wait(300) == ExitCode.UNAVAILABLE
        assert "gcs_server" in process.stderr.read()
    wait_until_gone(members)
    assert running_cluster(tmp_path) is None
