"""The data folder: where everything durable of an embedded cluster lies.

records/     SQLite files of the record store and the control plane
vectors/     Milvus Lite (derived, rebuilt when lost)
blobs/       content-addressed files
keys/        signing key of the policy authority, first admin key, Ray's token: for the owner only
run/         lock, state and log of the running cluster; `ray` leads to Ray's logs
"""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from memos_ray.errors import ConfigurationError, DataFolderInUseError, StoreFullError

_OWNER_ONLY = 0o600
_PATIENCE_S = 1.0
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths inside a data folder."""

    root: Path

    @property
    def records(self) -> Path:
        """Folder of the record store."""
        return self.root / "records"

    @property
    def vectors(self) -> Path:
        """Folder of Milvus Lite."""
        return self.root / "vectors"

    @property
    def blobs(self) -> Path:
        """Folder of the blob store."""
        return self.root / "blobs"

    @property
    def keys(self) -> Path:
        """Folder of secrets."""
        return self.root / "keys"

    @property
    def run(self) -> Path:
        """Folder of the running cluster's state."""
        return self.root / "run"

    @property
    def admin_key(self) -> Path:
        """File with the API key that the first start made."""
        return self.keys / "admin.key"

    @property
    def ray_token(self) -> Path:
        """File with the token that guards Ray's ports."""
        return self.keys / "ray.token"

    @property
    def state(self) -> Path:
        """File that says where the running cluster can be reached."""
        return self.run / "cluster.json"

    @property
    def log(self) -> Path:
        """Log of a cluster that runs in the background."""
        return self.run / "memos.log"

    def create(self) -> None:
        """Makes the folders, readable by their owner only.

        Raises:
            ConfigurationError: the path is no folder, or may not be written.
            StoreFullError: no space left.
        """
        try:
            for folder in (self.root, self.records, self.vectors, self.blobs, self.keys, self.run):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            if error.errno == 28:
                raise StoreFullError("no space for the data folder") from error
            raise ConfigurationError(
                "the data folder cannot be used", path=str(self.root), reason=error.strerror
            ) from error


class FolderLock:
    """Makes sure that one cluster at a time runs on a data folder.

    The kernel drops the lock when the process ends, however it ends.
    """

    def __init__(self, folder: DataFolder) -> None:
        self._path = folder.run / "lock"
        self._handle: int | None = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Takes the lock; waits a moment for somebody who only looks at it.

        Raises:
            DataFolderInUseError: another process holds it.
        """
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
        deadline = time.monotonic() + _PATIENCE_S
        while not _locks(handle, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                holder = _pid_in(handle)
                os.close(handle)
                raise DataFolderInUseError(
                    "another cluster runs on this data folder",
                    path=str(self._path.parent.parent),
                    pid=holder,
                )
            time.sleep(_PAUSE_S)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._handle = handle

    def holder(self) -> int | None:
        """Returns the process that holds the lock; nothing when it is free.

        The kernel's word: a process that is gone holds no lock, whatever the files say.
        """
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return None if _locks(handle, fcntl.LOCK_SH) else _pid_in(handle)
        finally:
            os.close(handle)

    def release(self) -> None:
        """Gives the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _locks(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(handle: int) -> int | None:
    written = os.pread(handle, 32, 0).decode(errors="replace").strip()
    return int(written) if written.isdecimal() else None


def write_secret(path: Path, content: bytes) -> None:
    """Writes a file that only its owner may read; durable, and whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    try:
        os.fchmod(handle, _OWNER_ONLY)
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(temporary, path)
    # The new name is durable only with its folder.
    home = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(home)
    finally:
        os.close(home)
