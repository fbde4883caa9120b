"""An embedded cluster with the REST door in front: what `memos-ray up` runs.

    start: lock the folder ─▶ take the port ─▶ Ray and the actors ─▶ Serve ─▶ answer ─▶ announce
    stop:  withdraw ─▶ drain the door ─▶ flush the shards, end Ray, free the folder

Everything hangs on this process: Ray's processes end with it, also when it is killed.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import time
from datetime import UTC, datetime

import httpx
import psutil
import ray

from memos_ray import __version__
from memos_ray.cli.cluster.ports import free_port
from memos_ray.cluster.announcement import RunningCluster, announce, withdraw
from memos_ray.cluster.boot import EmbeddedCluster
from memos_ray.cluster.folder import DataFolder
from memos_ray.cluster.keyring import Keyring
from memos_ray.cluster.ray_token import ensure_ray_token
from memos_ray.config import Settings
from memos_ray.errors import UnavailableError
from memos_ray.gateway import serve_deployment
from memos_ray.serving import deployment

_READY_S = 120.0
_PAUSE_S = 0.05
_RAY_PARTS = ("gcs_server", "raylet")


class Server:
    """The cluster of one data folder and its REST door."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = DataFolder(settings.data)
        self._cluster = EmbeddedCluster(settings)
        self._announced = False
        self._parts: dict[str, psutil.Process] = {}

    def start(self) -> RunningCluster:
        """Starts everything; returns once requests are answered.

        Raises:
            ConfigurationError: the port is taken, or settings do not fit the data or the machine.
            DataFolderInUseError: another cluster runs on the data folder.
            UnavailableError: a part does not come up.
        """
        settings = self._settings
        try:
            self._cluster.claim()
            ensure_ray_token(self._folder)
            serve_deployment.shorten_ways()
            self._cluster.start()
            children = {child.name(): child for child in psutil.Process().children()}
            self._parts = {name: children[name] for name in _RAY_PARTS}
            # A free port is chosen late: Ray's own processes pick theirs from the same range.
            port = free_port(settings)
            serve_deployment.start(settings, Keyring(settings).public_key(), port)
            running = RunningCluster(
                pid=os.getpid(),
                url=_url(settings.gateway.host, port),
                ray_address=ray.get_runtime_context().gcs_address,
                started_at=datetime.now(UTC).isoformat(),
                version=__version__,
            )
            # Behind the door, whose settings Serve takes from whoever starts it first.
            deployment.start(settings.served_models)
            _wait_until_ready(running.url)
            announce(self._folder, running)
            self._announced = True
            return running
        except BaseException:
            self.stop()
            raise

    def broken(self) -> str | None:
        """Names a process of Ray's own that has ended; without it nothing works any more."""
        for name, part in self._parts.items():
            try:
                if part.is_running() and part.status() != psutil.STATUS_ZOMBIE:
                    continue
            except psutil.NoSuchProcess:
                pass
            return name
        return None

    def abandon(self) -> None:
        """Withdraws what does not work any more; the rest ends with this process."""
        withdraw(self._folder)
        self._announced = False

    def stop(self) -> None:
        """Stops everything in order; requests under way are answered first. Safe to call twice."""
        if self._announced:
            withdraw(self._folder)
            self._announced = False
            serve_deployment.stop()
        self._cluster.stop()


def _url(host: str, port: int) -> str:
    """Makes the URL at which a client on this machine reaches the door."""
    address = ipaddress.ip_address(socket.gethostbyname(host) if ":" not in host else host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + _READY_S
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/readyz").is_success:
                    return
            if time.monotonic() > deadline:
                raise UnavailableError("the REST door does not get ready", url=url)
            time.sleep(_PAUSE_S)
