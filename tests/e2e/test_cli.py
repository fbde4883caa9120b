"""The command line against a real cluster, as a shell would use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

COMMAND = [sys.executable, "-P", "-m", "memos_ray.cli"]


def run(*arguments: str, code: int = 0) -> dict[str, Any]:
    """Runs a command with `--json`; returns its document, or its problem when it is to fail."""
    done = subprocess.run(
        [*COMMAND, *arguments, "--json"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr[-3000:]
    assert bool(done.stdout) is (code == 0), "one document on success, nothing else"
    found: dict[str, Any] = json.loads(done.stdout or done.stderr)
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose cluster is stopped in the end, whatever happened."""
    folder = tmp_path_factory.mktemp("memos")
    yield folder
    subprocess.run([*COMMAND, "down", "--data", str(folder), "--kill"], check=True)


@pytest.mark.e2e
def test_a_cluster_starts_serves_and_stops(data: Path) -> None:
    where = ("--data", str(data))
    started = run("up", "--detach", "--port", "0", *where)
    try:
        family = [psutil.Process(started["pid"])]
        family += family[0].children(recursive=True)
        assert os.stat(data / "keys" / "admin.key").st_mode & 0o777 == 0o600
        assert run("status", *where)["health"]["status"] == "ok"
        assert run("up", *where, code=7)["details"]["pid"] == started["pid"]
    finally:
        stopped = run("down", *where)
    assert stopped == {"stopped": True, "pid": started["pid"]}
    assert not [one for one in family if one.is_running() and one.status() != "zombie"]
    assert run("down", *where) == {"stopped": False, "pid": None}
    assert run("status", *where, code=6)["code"] == "unavailable"
