"""Where an embedded Ray keeps its sockets and logs: a folder that only this user can enter.

    /tmp/memos-ray-<uid>/          mode 0700
        <digest of a data folder>/
            data                   which data folder it belongs to
            session_…/             one for each start of Ray: sockets, logs

Ray's own choice, /tmp/ray, is open to every user of the machine. Paths are short, since the path of
a socket may have 107 bytes. Old sessions, and what belongs to data folders that are gone, are
cleared away at a start.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from hashlib import blake2b
from pathlib import Path

import psutil

from memos_ray.cluster.folder import DataFolder
from memos_ray.errors import ConfigurationError

_OWNER = "data"
_SESSIONS = "session_2*"
_KEPT_SESSIONS = 3
_LONGEST_BASE = 30
_OTHERS = 0o077


def scratch_folder(folder: DataFolder) -> Path:
    """Makes the folder for the Ray of a data folder, clears up, and shows where the logs are.

    For the holder of the data folder's lock.

    Raises:
        ConfigurationError: another user has taken the name, or nothing can be written there.
    """
    data = str(folder.root.absolute())
    root = _private_root()
    mine = root / blake2b(os.fsencode(data), digest_size=5).hexdigest()
    try:
        mine.mkdir(mode=0o700, exist_ok=True)
        (mine / _OWNER).write_text(data)
        _link(folder.run / "ray", mine / "session_latest" / "logs")
    except OSError as error:
        raise ConfigurationError(
            "Ray's folder cannot be used", path=str(mine), reason=error.strerror
        ) from error
    for session in sorted(mine.glob(_SESSIONS))[:-_KEPT_SESSIONS]:
        shutil.rmtree(session, ignore_errors=True)
    for other in root.iterdir():
        if other != mine and _is_abandoned(other):
            shutil.rmtree(other, ignore_errors=True)
    return mine


def _private_root() -> Path:
    base = tempfile.gettempdir()
    root = Path(base if len(base) <= _LONGEST_BASE else "/tmp") / f"memos-ray-{os.getuid()}"
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        # Not followed: a link could lead into somebody else's folder.
        found = root.lstat()
    except OSError as error:
        raise ConfigurationError(
            "Ray's folder cannot be made", path=str(root), reason=error.strerror
        ) from error
    theirs = not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid()
    if theirs or found.st_mode & _OTHERS:
        raise ConfigurationError(
            "Ray's folder must be this user's and nobody else's; remove it", path=str(root)
        )
    return root


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _is_abandoned(scratch: Path) -> bool:
    """Tells whether a folder's data is gone, and every process that had a session in it, too."""
    try:
        data = (scratch / _OWNER).read_text()
    except OSError:
        return False
    pids = [session.name.rpartition("_")[2] for session in scratch.glob(_SESSIONS)]
    alive = any(psutil.pid_exists(int(pid)) for pid in pids if pid.isdecimal())
    return not alive and not os.path.exists(data)
