"""Finds and kills the real processes of one cluster, and of no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from memos_ray.cluster.folder import DataFolder

_READY_S = 120.0
HOSTS = {
    "shard": "ray::ShardHost",
    "supervisor": "ray::SupervisorHost",
    "governance": "ray::GovernanceHost",
}


@dataclass
class ClusterProcess:
    """A cluster that runs as `memos-ray up --foreground` in a process of its own."""

    data: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it serves."""
        folder = DataFolder(self.data)
        folder.state.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "MEMOS_EMBEDDER__KIND": "custom",
            "MEMOS_EMBEDDER__FACTORY": "memos_ray.testing.embedders:HashingEmbedder",
        }
        command = [sys.executable, "-m", "memos_ray.cli", "up", "--foreground"]
        command += ["--data", str(self.data), "--port", "0"]
        self.data.mkdir(parents=True, exist_ok=True)
        with open(self.data / "output.log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _READY_S
        while not folder.state.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.data / "output.log").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"the cluster did not start:\n{tail}")
            time.sleep(0.1)

    def pid_of(self, part: str) -> int | None:
        """Returns the process id of a running part, or nothing while it is being restarted."""
        for child in self._descendants():
            try:
                if child.cmdline() and child.cmdline()[0].startswith(HOSTS[part]):
                    return child.pid
            except psutil.NoSuchProcess:
                continue
        return None

    def kill(self, part: str) -> bool:
        """Kills a part with SIGKILL; tells whether it was there."""
        if part == "cluster":
            self.kill_all()
            return True
        pid = self.pid_of(part)
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def kill_all(self) -> None:
        """Kills the main process and waits until every process of the cluster has ended."""
        if self.process is None:
            return
        family = self._descendants()
        self.process.kill()
        self.process.wait()
        _, alive = psutil.wait_procs(family, timeout=30)
        for one in alive:
            one.kill()
        psutil.wait_procs(alive, timeout=10)
        self.process = None

    def stop(self) -> None:
        """Stops it in order."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill_all()
            self.process = None

    def _descendants(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


@contextmanager
def running(data: Path) -> Iterator[ClusterProcess]:
    """Runs a cluster for the length of a block."""
    cluster = ClusterProcess(data)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()
