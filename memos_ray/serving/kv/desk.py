"""Where payloads lie for an engine to fetch, and where it lays down what it was asked to keep.

An engine that runs in the replica's own process takes arrays as they are, straight from the object
store's memory. One with worker processes shares files in memory with them, each written once and
mapped by every rank.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil

from memos_ray.core.activation import Bytes

_MEMORY = Path("/dev/shm")
_PREFIX = "memos-kv-"
_desks: dict[str, LocalDesk] = {}


class Desk(Protocol):
    """A place for payloads, by name and rank."""

    def lay(self, name: str, rank: int, payload: Bytes) -> None:
        """Puts a payload down; another of the same name and rank stays as it is."""
        ...

    def look(self, name: str, rank: int) -> Bytes | None:
        """Returns a payload without taking it away; nothing when it is not there."""
        ...

    def clear(self, name: str) -> None:
        """Takes the payloads of a name away; absent ones are fine."""
        ...

    def close(self) -> None:
        """Takes everything away."""
        ...


class LocalDesk:
    """Payloads of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._payloads: dict[str, dict[int, Bytes]] = {}

    def lay(self, name: str, rank: int, payload: Bytes) -> None:
        """See `Desk`."""
        with self._lock:
            self._payloads.setdefault(name, {}).setdefault(rank, payload)

    def look(self, name: str, rank: int) -> Bytes | None:
        """See `Desk`."""
        with self._lock:
            return self._payloads.get(name, {}).get(rank)

    def clear(self, name: str) -> None:
        """See `Desk`."""
        with self._lock:
            self._payloads.pop(name, None)

    def close(self) -> None:
        """See `Desk`."""
        with self._lock:
            self._payloads.clear()


class SharedDesk:
    """Payloads of all processes of one replica, as files in a folder in memory.

    A file appears under its name only when it is whole. Names come from this package, never from a
    caller.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def lay(self, name: str, rank: int, payload: Bytes) -> None:
        """See `Desk`."""
        target = self._file(name, rank)
        if target.exists():
            return
        draft = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
            file.write(payload.data)
        draft.rename(target)

    def look(self, name: str, rank: int) -> Bytes | None:
        """See `Desk`."""
        try:
            return np.memmap(self._file(name, rank), dtype=np.uint8, mode="r")
        except FileNotFoundError:
            return None

    def clear(self, name: str) -> None:
        """See `Desk`."""
        for file in self._folder.glob(f"{name}.*"):
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """See `Desk`."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, name: str, rank: int) -> Path:
        return self._folder / f"{name}.{rank}"


def shared_folder() -> str:
    """Makes a folder in memory for a `SharedDesk` of this process.

    Folders of processes that have been killed are swept away: nobody else would.
    """
    for old in _MEMORY.glob(f"{_PREFIX}*"):
        owner = old.name.removeprefix(_PREFIX)
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    return str(_MEMORY / f"{_PREFIX}{os.getpid()}")


def open_desk(place: str) -> Desk:
    """Returns the desk of a place: a folder, or a name within this process."""
    if place.startswith("/"):
        return SharedDesk(Path(place))
    return _desks.setdefault(place, LocalDesk())
