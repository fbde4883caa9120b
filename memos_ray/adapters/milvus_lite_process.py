"""The process that runs Milvus Lite, seen from its owner: start, report, stop.

It runs apart from the owner because the engine is Python: in the same process each batch that is
indexed and each search would hold the interpreter lock for tens of milliseconds.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memos_ray.adapters import milvus_lite_server
from memos_ray.adapters.milvus_ledger import Inventory
from memos_ray.errors import VectorStoreError

_MEMORY_BYTES = 1 << 20
_LONGEST_SOCKET_DIR = 80
_STOP_S = 15.0
_LOCK_WAIT_S = 10.0
_LOCK_PAUSE_S = 0.1
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


class EngineCorruptError(Exception):
    """The engine cannot make sense of its own files."""


@dataclass(slots=True)
class EngineProcess:
    """A running engine.

    Attributes:
        address: where its socket is, for the client.
        rows: the live rows it found when it opened.
    """

    address: str
    rows: Inventory
    _process: subprocess.Popen[bytes] = field(repr=False)
    _socket_dir: Path = field(repr=False)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Waits for the end of the process and returns its exit status."""
        return self._process.wait()

    def stop(self) -> None:
        """Flushes and stops; kills what does not stop in time. Safe to call twice."""
        if self.running and self._process.stdin is not None:
            try:
                self._process.stdin.write(b"stop\n")
                self._process.wait(_STOP_S)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
        self.kill()

    def kill(self) -> None:
        """Ends the process at once and cleans up behind it."""
        _discard(self._process, self._socket_dir)


def start_engine(
    data_dir: Path, log: Path, columns: tuple[str, str, str], timeout_s: float
) -> EngineProcess:
    """Starts an engine on a folder and waits until it serves.

    Args:
        log: gets the engine's warnings; overwritten.
        columns: names of the key, partition and stamp columns.

    Raises:
        EngineCorruptError: when the engine cannot read its files, or dies of them.
        VectorStoreError: when it does not come up for another reason.
    """
    deadline = time.monotonic() + timeout_s
    lock_deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        process, socket_dir = _spawn(data_dir, log, columns)
        report = _read_report(process, deadline)
        match report.get("state"):
            case "ready":
                return EngineProcess(report["address"], report["rows"], process, socket_dir)
            case "locked" if time.monotonic() < lock_deadline:
                # The engine of an owner that was just killed is still on its way out.
                _discard(process, socket_dir)
                time.sleep(_LOCK_PAUSE_S)
            case "corrupt":
                _discard(process, socket_dir)
                raise EngineCorruptError(str(report["reason"]))
            case state:
                status = process.poll()
                _discard(process, socket_dir)
                if status is not None and -status in _CRASHES:
                    raise EngineCorruptError(f"the engine died of signal {-status} while opening")
                raise VectorStoreError(
                    "Milvus Lite does not start", reason=str(report.get("reason", state))
                )


def _spawn(
    data_dir: Path, log: Path, columns: tuple[str, str, str]
) -> tuple[subprocess.Popen[bytes], Path]:
    root = tempfile.gettempdir()
    if len(root) > _LONGEST_SOCKET_DIR:
        root = "/tmp"
    socket_dir = Path(tempfile.mkdtemp(prefix="memos-milvus-", dir=root))
    environment = os.environ | {
        # A search reads unflushed rows one by one, 40 µs each; small flushes keep it fast.
        "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES": str(_MEMORY_BYTES),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-P", milvus_lite_server.__file__]
    command += [str(data_dir), str(socket_dir), str(os.getpid()), *columns]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )
    return process, socket_dir


def _read_report(process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
    """Reads the one line that the engine reports; nothing when it ends or takes too long."""
    if process.stdout is None:
        return {}
    received = bytearray()
    descriptor = process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not received.endswith(b"\n"):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return {"state": "silent"}
        chunk = os.read(descriptor, 1 << 20)
        if not chunk:
            process.wait()
            return {}
        received += chunk
    return dict(json.loads(received))


def _discard(process: subprocess.Popen[bytes], socket_dir: Path) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    shutil.rmtree(socket_dir, ignore_errors=True)
