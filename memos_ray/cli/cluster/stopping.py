"""Stops the cluster that runs on a data folder, and nothing else."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import psutil

from memos_ray.cluster.announcement import running_cluster
from memos_ray.cluster.folder import DataFolder, FolderLock
from memos_ray.errors import DataFolderInUseError, DeadlineExceededError, PermissionDeniedError

_KILL_S = 10.0
_LOOK_S = 0.5


def stop_cluster(data: Path, timeout_s: float, *, kill: bool) -> int | None:
    """Stops the cluster and waits until it is gone; returns its process, or nothing if none runs.

    Args:
        kill: whether to kill it when it has not stopped in time.

    Raises:
        DataFolderInUseError: a process uses the folder that `memos-ray up` has not announced: a
            cluster that is starting, or another program's own.
        DeadlineExceededError: it has not stopped in time.
        PermissionDeniedError: it belongs to another user.
    """
    process = cluster_process(data)
    if process is None:
        return None
    try:
        process.terminate()
        if not _gone(process, timeout_s):
            if not kill:
                raise DeadlineExceededError("the cluster has not stopped in time", pid=process.pid)
            process.kill()
            if not _gone(process, _KILL_S):
                raise DeadlineExceededError("the cluster cannot be killed", pid=process.pid)
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise PermissionDeniedError(
            "the cluster belongs to another user", pid=process.pid
        ) from None
    return process.pid


def cluster_process(data: Path) -> psutil.Process | None:
    """Finds the process of the cluster on a data folder.

    It is the process that holds the folder's lock and that has announced itself; a stranger that
    was given the number of a dead one holds no lock, and began later than the announcement.

    Raises:
        DataFolderInUseError: somebody holds the lock who has not announced a cluster.
    """
    running = running_cluster(data)
    if running is None:
        holder = FolderLock(DataFolder(data)).holder()
        if holder is None:
            return None
        raise DataFolderInUseError(
            "a process uses the data folder that is no announced cluster: one that is still"
            " starting, or a program with an embedded one; stop that program itself",
            pid=holder,
        )
    try:
        process = psutil.Process(running.pid)
        if process.create_time() > datetime.fromisoformat(running.started_at).timestamp():
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def _gone(process: psutil.Process, timeout_s: float) -> bool:
    """Waits for the end of a process; a zombie that nobody collects has ended, too."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            process.wait(min(_LOOK_S, timeout_s))
        except psutil.TimeoutExpired:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        else:
            return True
    return False
