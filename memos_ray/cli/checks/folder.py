"""The data folder: who may read it, which version wrote it, who uses it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from memos_ray.adapters.sql.probes import version_of
from memos_ray.adapters.sql.revisions import HISTORY
from memos_ray.cli.checks.finding import Finding, fail, ok, warn
from memos_ray.cluster.announcement import RunningCluster
from memos_ray.cluster.folder import DataFolder, FolderLock
from memos_ray.config import Settings
from memos_ray.errors import ConfigurationError, MemosError

_OTHERS = 0o077


def permissions(settings: Settings) -> Iterator[Finding]:
    """Checks that nobody else can read memories and keys."""
    folder = DataFolder(settings.data)
    if not folder.root.exists():
        yield ok("permissions", f"{folder.root} is not there yet; the first start makes it")
        return
    if not os.access(folder.root, os.R_OK | os.W_OK | os.X_OK):
        yield fail("permissions", f"{folder.root} may not be written", "run as its owner")
        return
    secrets = sorted(folder.keys.glob("*")) if folder.keys.is_dir() else []
    open_keys = [path for path in secrets if _open(path)]
    open_folders = [path for path in (folder.root, folder.keys) if path.exists() and _open(path)]
    if open_keys:
        names = " ".join(map(str, open_keys))
        yield fail("permissions", f"others may read {names}", f"chmod 600 {names}")
    elif open_folders:
        names = " ".join(map(str, open_folders))
        yield warn("permissions", f"others may enter {names}", f"chmod 700 {names}")
    else:
        yield ok("permissions", f"{folder.root} is for its owner only")


def ray_token() -> Iterator[Finding]:
    """Checks the token that Ray keeps for the clusters that programs embed."""
    token = Path.home() / ".ray" / "auth_token"
    if token.exists() and _open(token):
        yield warn("ray token", f"others may read {token}", f"chmod 600 {token}")


def version(settings: Settings) -> Iterator[Finding]:
    """Checks that this version can read the data; changes nothing."""
    files = sorted(DataFolder(settings.data).records.glob("*.sqlite"))
    if settings.records.url is not None or not files:
        yield ok("data version", "no SQLite files to look at")
        return
    unreadable = []
    found = set()
    for file in files:
        try:
            found.add(version_of(file))
        except MemosError as error:
            unreadable.append(f"{file.name}: {error.message}")
    if unreadable:
        advice = "restore a backup of the folder, or move the damaged file away"
        yield fail("data version", "; ".join(unreadable), advice)
    elif found <= {HISTORY.head, None}:
        yield ok("data version", f"{HISTORY.head}, {len(files)} files")
    else:
        names = ", ".join(sorted(name or "none" for name in found))
        yield warn(
            "data version",
            f"{names}; this version writes {HISTORY.head}",
            "an older one is migrated at the next start: take a copy first; a newer one is refused",
        )


def running(settings: Settings, cluster: RunningCluster | None) -> Iterator[Finding]:
    """Checks the cluster that runs on the folder, and the port for the next one."""
    from memos_ray.cli.cluster.ports import free_port

    if cluster is not None:
        yield from _health(settings, cluster)
        return
    holder = FolderLock(DataFolder(settings.data)).holder()
    if holder is not None:
        yield ok("cluster", f"process {holder} uses the folder, without a REST door")
        return
    yield ok("cluster", "none runs on this folder")
    try:
        free_port(settings)
    except ConfigurationError as error:
        yield fail("port", str(error), "choose another one: MEMOS_GATEWAY__PORT, or up --port 0")
    else:
        yield ok("port", f"{settings.gateway.port} on {settings.gateway.host} is free")


def _health(settings: Settings, cluster: RunningCluster) -> Iterator[Finding]:
    from memos_ray.client.sync.memos import MemOS

    advice = f"look at `memos-ray status` and at {DataFolder(settings.data).log}"
    try:
        with MemOS(url=cluster.url, api_key="none", settings=settings) as memos:
            health = memos.health()
    except MemosError as error:
        yield fail("cluster", f"process {cluster.pid} does not answer: {error.message}", advice)
        return
    ill = [part for part in health.components if part.status != "ok"]
    if ill:
        named = ", ".join(
            f"{part.name} ({part.detail['stalled']})" if "stalled" in part.detail else part.name
            for part in ill
        )
        yield warn("cluster", f"not well: {named}", advice)
    else:
        yield ok("cluster", f"process {cluster.pid} is well, at {cluster.url}")
    aside = sum(int(part.detail.get("aside", 0)) for part in health.components)
    if aside:
        log = DataFolder(settings.data).log
        found = f"{aside} log entries could not be taken by what follows the log"
        yield warn("log entries", found, f"they are tried again every ten minutes; {log} says why")


def _open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & _OTHERS)
