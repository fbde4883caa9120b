"""A real Milvus server for tests: the standalone binary of the `milvus` wheel (2.3.5, x86-64).

The server binds its ports on all interfaces and has no setting for that; they are random and it
holds nothing but test data.
"""

from __future__ import annotations

import importlib.util
import lzma
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from memos_ray.testing.processes import end, free_port, tied

_START_S = 180.0
_STOP_S = 15.0
_PORTS = (
    "etcd_port",
    "root_coord_port",
    "proxy_port",
    "proxy_internal_port",
    "query_coord_port",
    "query_node_port",
    "index_coord_port",
    "index_node_port",
    "data_coord_port",
    "data_node_port",
)


class MilvusUnavailableError(Exception):
    """The wheel is absent, or its server does not run here."""


class MilvusServer:
    """One server on a folder; keeps its ports and data over a restart.

    Attributes:
        uri: where it listens.
    """

    def __init__(self, folder: Path) -> None:
        """Unpacks the binary (once per machine) and writes the configuration.

        Raises:
            MilvusUnavailableError: when the wheel is absent.
        """
        self._folder = folder
        self._binaries = _unpacked()
        self._health_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.uri = f"http://127.0.0.1:{self._configure()}"

    def start(self) -> None:
        """Starts and waits until it is healthy.

        Raises:
            MilvusUnavailableError: when it ends or does not get ready in time.
        """
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "ETCD_CONFIG_PATH": str(self._folder / "etcd.yaml"),
            "LD_LIBRARY_PATH": str(self._binaries),
            "METRICS_PORT": str(self._health_port),
            "MILVUS_RUN_DIR": str(self._folder / "run"),
            # Reads behind a write wait for the server's clock; a faster one makes tests faster.
            "PROXY_TIMETICKINTERVAL": "20",
            # A killed server is missed for this long before its successor takes over.
            "COMMON_SESSION_TTL": "3",
        }
        with (self._folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                tied([str(self._binaries / "milvus"), "run", "standalone"], os.getpid()),
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _START_S
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise MilvusUnavailableError(f"the server does not start: {self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stops it; safe when it does not run."""
        if self._process is not None:
            end(self._process, _STOP_S)
            self._process = None

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _healthy(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self._health_port}/healthz"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return b"OK" in answer.read()
        except OSError:
            return False

    def _last_words(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")[-500:]

    def _configure(self) -> int:
        import milvus

        config = milvus.MilvusServerConfig(
            data_dir=str(self._folder), **{name: free_port() for name in _PORTS}
        )
        config.resolve()
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        (self._folder / "etcd.yaml").write_text(
            f"name: default\n"
            f"data-dir: {self._folder / 'etcd'}\n"
            f"listen-client-urls: {client}\nadvertise-client-urls: {client}\n"
            f"listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\n"
            f"initial-cluster: default={peer}\n"
        )
        return int(config.get("proxy_port"))


def _unpacked() -> Path:
    """Returns the folder of the server's binaries, which lie compressed in the wheel."""
    wheel = importlib.util.find_spec("milvus")
    if wheel is None or wheel.origin is None:
        raise MilvusUnavailableError("the wheel milvus==2.3.5 is not installed")
    target = Path(tempfile.gettempdir()) / f"memos-ray-milvus-2.3.5-{os.getuid()}"
    if target.is_dir() and target.stat().st_uid == os.getuid():
        return target
    staging = Path(tempfile.mkdtemp(prefix="memos-ray-milvus-"))
    for packed in (Path(wheel.origin).parent / "data" / "bin").glob("*.lzma"):
        file = staging / packed.stem
        with lzma.open(packed) as source, file.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        file.chmod(0o755)
    try:
        staging.rename(target)
    except OSError:
        # Another run was quicker.
        shutil.rmtree(staging)
    return target
