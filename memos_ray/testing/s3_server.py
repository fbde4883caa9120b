"""A real S3 server on loopback for tests: moto's, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import urllib.request

from memos_ray.testing.processes import end, free_port, tied

_START_S = 120.0
_STOP_S = 5.0


class S3UnavailableError(Exception):
    """The server is not installed or does not start here."""


class S3Server:
    """One server; it keeps its port over a restart, but not its objects.

    Attributes:
        endpoint: `host:port`, plain HTTP; any credentials will do.
    """

    def __init__(self) -> None:
        """Chooses a port.

        Raises:
            S3UnavailableError: when moto is not installed.
        """
        if importlib.util.find_spec("moto") is None:
            raise S3UnavailableError("moto[s3,server] is not installed")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Starts and waits until it answers.

        Raises:
            S3UnavailableError: when it does not.
        """
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        self._process = subprocess.Popen(
            tied(command, os.getpid()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise S3UnavailableError("the S3 server does not start")
            time.sleep(0.05)

    def make_bucket(self, name: str) -> None:
        """Creates a bucket."""
        request = urllib.request.Request(f"http://{self.endpoint}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def stop(self) -> None:
        """Stops it; safe when it does not run."""
        if self._process is not None:
            end(self._process, _STOP_S)
            self._process = None

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.endpoint}/moto-api/", timeout=1).close()
        except OSError:
            return False
        return True
