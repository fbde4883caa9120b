"""The folder of a Milvus Lite store: who owns it, and whether it holds what it should.

On disk, for a store at `<path>`:

    <path>.lock         held by the owner; a second owner is refused
    <path>/engine/      the engine's files
    <path>/ledger.db    what the engine has acknowledged (see `milvus_ledger`)
    <path>/engine.log   warnings of the running engine
    <path>.corrupt-<n>  a store that was found damaged, moved aside whole

Each time the engine starts, the rows it has found are compared with the ledger. Whatever is lost or
unreadable moves the whole store aside and begins an empty one: it is derived data, and a rebuild is
simpler to trust than a repair.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from memos_ray.adapters import milvus_rows as rows
from memos_ray.adapters.milvus_ledger import Ledger, LedgerError
from memos_ray.adapters.milvus_lite_process import (
    EngineCorruptError,
    EngineProcess,
    start_engine,
)
from memos_ray.adapters.milvus_settings import StoreLoss
from memos_ray.errors import ConfigurationError, DataFolderInUseError, VectorStoreError

_COLUMNS = (rows.KEY, rows.PARTITION, rows.STAMP)

_log = logging.getLogger(__name__)


class LiteFolder:
    """A folder that this process owns, from `__init__` to `close`.

    Concurrency: one caller at a time; the owner's write lock sees to it.
    """

    def __init__(self, path: Path) -> None:
        """Locks the folder.

        Raises:
            DataFolderInUseError: when another process owns it.
            ConfigurationError: when it cannot be made or locked.
        """
        self._path = path
        self._losses: list[StoreLoss] = []
        self._ledger: Ledger | None = None
        self._lock_file = _take(path.with_name(path.name + ".lock"))

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    @property
    def losses(self) -> Sequence[StoreLoss]:
        """What was found damaged and moved aside by this object."""
        return tuple(self._losses)

    def ledger(self) -> Ledger:
        """Returns the ledger.

        Raises:
            VectorStoreError: the store is not open.
        """
        if self._ledger is None:
            raise VectorStoreError("Milvus Lite is not running")
        return self._ledger

    def start(self, timeout_s: float) -> tuple[EngineProcess, Mapping[tuple[str, int], list[str]]]:
        """Starts the engine on files that hold what they should; on none when they do not.

        Returns:
            The engine, and keys of rows that it holds and should not, by collection and partition.
        """
        try:
            return self._open_checked(timeout_s)
        except (EngineCorruptError, LedgerError) as error:
            if isinstance(error, LedgerError) and not error.damaged:
                raise
            self._move_aside(str(error))
            return self._open_checked(timeout_s)

    def close(self) -> None:
        """Gives the folder free; safe to call twice."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self._lock_file.close()

    def _open_checked(
        self, timeout_s: float
    ) -> tuple[EngineProcess, Mapping[tuple[str, int], list[str]]]:
        if self._path.exists() and not self._path.is_dir():
            raise EngineCorruptError("a file where the store's folder should be")
        self._path.mkdir(mode=0o700, exist_ok=True)
        ledger_file = self._path / "ledger.db"
        had_ledger = ledger_file.exists()
        if self._ledger is None:
            self._ledger = Ledger(ledger_file)
        engine = start_engine(self._path / "engine", self._path / "engine.log", _COLUMNS, timeout_s)
        try:
            if not had_ledger and any(engine.rows.values()):
                raise EngineCorruptError("the ledger is missing")
            findings = self._ledger.compare(engine.rows)
            if findings.lost:
                raise EngineCorruptError(f"{findings.lost} acknowledged rows are missing or stale")
        except BaseException:
            engine.kill()
            raise
        return engine, findings.strays

    def _move_aside(self, reason: str) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        number = 1
        while (target := self._path.with_name(f"{self._path.name}.corrupt-{number}")).exists():
            number += 1
        os.rename(self._path, target)
        self._losses.append(StoreLoss(str(target), reason))
        _log.warning("vector store %s was damaged (%s), moved to %s", self._path, reason, target)


def _take(path: Path) -> IO[bytes]:
    """Locks the store for this process; the lock goes with the process.

    Raises:
        DataFolderInUseError: when it is taken.
        ConfigurationError: when the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise ConfigurationError(
            "the folder of the vector store cannot be used", path=str(path), reason=str(error)
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise DataFolderInUseError(
            "another process owns this vector store", path=str(path)
        ) from error
    return file
