"""The file by which a running cluster says where it can be reached: `run/cluster.json`.

The file alone proves nothing, since a killed cluster leaves it behind. What it says holds while the
process that it names holds the lock of the data folder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from memos_ray.cluster.folder import DataFolder, FolderLock, write_secret


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A cluster that can be used.

    Attributes:
        pid: the process that everything of the cluster hangs on.
        url: of the REST door.
        ray_address: of Ray's head node.
        started_at: when it was ready, in ISO 8601.
        version: of memos-ray.
    """

    pid: int
    url: str
    ray_address: str
    started_at: str
    version: str


def announce(folder: DataFolder, running: RunningCluster) -> None:
    """Writes the file, whole or not at all."""
    write_secret(folder.state, orjson.dumps(asdict(running), option=orjson.OPT_APPEND_NEWLINE))


def withdraw(folder: DataFolder) -> None:
    """Removes the file."""
    folder.state.unlink(missing_ok=True)


def running_cluster(data: Path) -> RunningCluster | None:
    """Returns the cluster that runs on a data folder; nothing when its process is gone."""
    folder = DataFolder(data)
    try:
        found = RunningCluster(**orjson.loads(folder.state.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return found if FolderLock(folder).holder() == found.pid else None
