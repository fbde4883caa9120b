"""A whole cluster with its REST door in a process of its own, and the means to kill its parts.

    python -m tests.fault.cluster_process DATA PORT

serves a data folder until it is terminated.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from memos_ray.cluster.folder import DataFolder
from memos_ray.testing.processes import end, free_port, tied

ROOT = Path(__file__).parents[2]
SHARDS = 2
_START_S = 180.0
_STOP_S = 60.0
_READY = "ready"
_EMBEDDER = {
    "MEMOS_EMBEDDER__KIND": "custom",
    "MEMOS_EMBEDDER__FACTORY": "memos_ray.testing.embedders:HashingEmbedder",
}
_PARTS = {
    "shard": "ray::ShardHost",
    "supervisor": "ray::SupervisorHost",
    "governance": "ray::GovernanceHost",
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
    """

    data: Path
    port: int = field(default_factory=free_port)
    past: list[psutil.Process] = field(default_factory=list)
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
        """Starts a cluster and returns when it serves."""
        command = [
            sys.executable,
            "-m",
            "tests.fault.cluster_process",
            str(self.data),
            str(self.port),
        ]
        environment = os.environ | _EMBEDDER | {"MEMOS_VAULT__SHARDS": str(SHARDS)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tied(command, os.getpid()),
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        if not _says_ready(self._process):
            end(self._process, 1.0)
            raise RuntimeError(f"the cluster did not start:\n{self.tail()}")

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


def _says_ready(process: subprocess.Popen[bytes]) -> bool:
    said = threading.Event()

    def listen(output: IO[bytes]) -> None:
        if output.readline().strip() == _READY.encode():
            said.set()
        finished.set()

    finished = threading.Event()
    if process.stdout is not None:
        threading.Thread(target=listen, args=(process.stdout,), daemon=True).start()
    finished.wait(_START_S)
    return said.is_set()


def serve(data: Path, port: int) -> None:
    """Runs a cluster with its REST door until SIGTERM."""
    from memos_ray.cluster.boot import EmbeddedCluster
    from memos_ray.cluster.keyring import Keyring
    from memos_ray.config import Settings
    from memos_ray.gateway import serve_deployment

    asked = threading.Event()
    settings = Settings(data=data)
    with EmbeddedCluster(settings):
        serve_deployment.start(settings, Keyring(settings).public_key(), port)
        # Behind the start, in which Ray takes the signal for itself.
        signal.signal(signal.SIGTERM, lambda *_: asked.set())
        sys.stdout.write(f"{_READY}\n")
        sys.stdout.flush()
        asked.wait()
        serve_deployment.stop()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
