"""A whole cluster as `memos-ray up` runs it, and the means to kill its parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from memos_ray.cluster.announcement import running_cluster
from memos_ray.cluster.folder import DataFolder
from memos_ray.testing.processes import end, free_port, tied

ROOT = Path(__file__).parents[2]
SHARDS = 2
_START_S = 240.0
_STOP_S = 60.0
_PAUSE_S = 0.5
_LOOK_S = 0.1
_ENVIRONMENT = {
    "MEMOS_EMBEDDER__KIND": "custom",
    "MEMOS_EMBEDDER__FACTORY": "memos_ray.testing.embedders:HashingEmbedder",
    "MEMOS_VAULT__SHARDS": str(SHARDS),
}
_PARTS = {
    "shard": "ray::ShardHost",
    "control": "ray::ControlHost",
    "gateway": "ray::ServeReplica",
    "milvus": "milvus_lite_server.py",
}
PARTS = (*_PARTS, "cluster")
"""What can be killed; `cluster` is the process that everything else hangs on."""


@dataclass
class ClusterProcess:
    """One cluster after the other on one data folder and one port.

    Attributes:
        past: the processes of clusters that were killed; all of them have to end.
        failed_starts: how often a start had to be repeated.
    """

    data: Path
    port: int = field(default_factory=free_port)
    past: list[psutil.Process] = field(default_factory=list)
    failed_starts: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the REST door is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        """The administrator's key."""
        return DataFolder(self.data).admin_key.read_text().strip()

    @property
    def log(self) -> Path:
        """What the clusters have written."""
        return self.data.with_name(f"{self.data.name}.log")

    def start(self) -> None:
        """Starts a cluster and returns when it serves.

        The port of a cluster that was just killed may not be free yet; then it is tried again, as
        a service manager does.
        """
        deadline = time.monotonic() + _START_S
        while not self._try_to_start(deadline):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the cluster does not start:\n{self.tail()}")
            self.failed_starts += 1
            time.sleep(_PAUSE_S)

    def _try_to_start(self, deadline: float) -> bool:
        command = [sys.executable, "-m", "memos_ray.cli", "up"]
        command += ["--data", str(self.data), "--port", str(self.port)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                tied(command, os.getpid()),
                cwd=ROOT,
                env=os.environ | _ENVIRONMENT,
                stdout=log,
                stderr=log,
            )
        while process.poll() is None:
            running = running_cluster(self.data)
            if running is not None and running.pid == process.pid:
                self._process = process
                return True
            if time.monotonic() > deadline:
                end(process, _STOP_S)
            time.sleep(_LOOK_S)
        return False

    def stop(self) -> None:
        """Stops it in order."""
        if self._process is not None:
            end(self._process, _STOP_S)
            self._process = None

    def pids(self, part: str) -> list[int]:
        """Returns the process ids of a part; none while it is being started again."""
        wanted, found = _PARTS[part], []
        for process in self._family():
            try:
                if any(wanted in word for word in process.cmdline()[:4]):
                    found.append(process.pid)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return sorted(found)

    def kill(self, pid: int) -> None:
        """Kills one process with SIGKILL; it may be gone already."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def kill_whole(self) -> None:
        """Kills the process that the cluster hangs on, and nothing else: the rest has to notice."""
        if self._process is not None:
            self.past += self._family()
            self._process.kill()
            self._process.wait()
            self._process = None

    def left_behind(self, patience_s: float = 60.0) -> list[str]:
        """Returns what is still running of clusters that were killed or stopped."""
        _, alive = psutil.wait_procs(self.past, timeout=patience_s)
        names = []
        for process in alive:
            try:
                names.append(" ".join(process.cmdline()[:4]))
            except psutil.NoSuchProcess:
                continue
        return names

    def tail(self, length: int = 4000) -> str:
        """Returns the end of what the clusters have written."""
        return self.log.read_text(errors="replace")[-length:]

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
