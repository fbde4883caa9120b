"""The machine: Python, packages, environment, memory, limits, disk, port."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from memos_ray.cli.checks.finding import Finding, fail, ok, warn
from memos_ray.config import ENV_NESTING, ENV_PREFIX, EmbedderKind, Settings, env_name

_PACKAGE = "memos-ray"
_GIB = 1 << 30
_LEAST_RAM_BYTES = 2 * _GIB
_LEAST_FILES = 4096
_SCARCE_DISK_BYTES = 2 * _GIB
_LEAST_DISK_BYTES = 256 << 20
_SHARED_MEMORY = Path("/dev/shm")


def python() -> Iterator[Finding]:
    """Checks the interpreter against what the package asks for."""
    version = platform.python_version()
    wanted = metadata.metadata(_PACKAGE).json.get("requires_python", "")
    if sys.platform != "linux":
        yield warn("system", sys.platform, "only Linux is tested")
    if version in SpecifierSet(str(wanted)):
        yield ok("python", version)
    else:
        yield fail("python", version, f"Python {wanted} is needed")


def packages(settings: Settings) -> Iterator[Finding]:
    """Checks that what the settings need is installed, in a version that fits."""
    extras = sorted(_extras(settings))
    wrong = []
    for line in metadata.requires(_PACKAGE) or ():
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            wrong += _unmet(requirement)
    if wrong:
        install = f"python -m pip install '{_PACKAGE}[{','.join(extras)}]'"
        yield fail("packages", "; ".join(wrong), f"{install}, or `make setup`")
    else:
        yield ok("packages", f"complete, with {', '.join(extras) or 'no extras'}")


def environment() -> Iterator[Finding]:
    """Checks that variables which look like settings are some: others are passed over."""
    known = {env_name(field) for field in Settings.model_fields}
    unknown = sorted(
        name
        for name in os.environ
        if name.upper().startswith(ENV_PREFIX) and name.upper().split(ENV_NESTING)[0] not in known
    )
    if unknown:
        yield warn(
            "environment", f"no settings: {', '.join(unknown)}", "they are ignored: mend the names"
        )
    else:
        yield ok("environment", "every MEMOS_ variable is a setting")


def memory(settings: Settings) -> Iterator[Finding]:
    """Checks free RAM, and shared memory for Ray's object store."""
    free = psutil.virtual_memory().available
    found = f"{free / _GIB:.1f} GiB available"
    if free < _LEAST_RAM_BYTES:
        yield warn("memory", found, "an idle cluster takes about 1.5 GiB: free some")
    else:
        yield ok("memory", found)
    if _SHARED_MEMORY.is_dir():
        shared = shutil.disk_usage(_SHARED_MEMORY).free
        found = f"{shared / _GIB:.2f} GiB free in {_SHARED_MEMORY}"
        if shared < settings.object_store_bytes:
            yield warn("shared memory", found, "Ray falls back to disk: enlarge it (--shm-size)")
        else:
            yield ok("shared memory", found)


def limits() -> Iterator[Finding]:
    """Checks how many files a process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _LEAST_FILES:
        yield warn("open files", f"limit {soft}", f"raise it: ulimit -n {min(hard, 65_536)}")
    else:
        yield ok("open files", f"limit {soft if soft >= 0 else 'none'}")


def disk(settings: Settings) -> Iterator[Finding]:
    """Checks the space where the data lies."""
    place = existing(settings.data)
    free = shutil.disk_usage(place).free
    found = f"{free / _GIB:.1f} GiB free at {place}"
    if free < _LEAST_DISK_BYTES:
        yield fail("disk", found, "free some, or move the data folder: writes will be refused")
    elif free < _SCARCE_DISK_BYTES:
        yield warn("disk", found, "free some before it fills up")
    else:
        yield ok("disk", found)


def existing(path: Path) -> Path:
    """Returns a path, or the nearest folder above it that is there."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return place


def _extras(settings: Settings) -> set[str]:
    found = {"ingest"}
    if settings.embedder.kind is EmbedderKind.ONNX:
        found.add("embedder")
    if settings.vectors.enabled:
        found.add("milvus-lite" if settings.vectors.uri is None else "milvus")
    if settings.records.url is not None:
        found.add("postgres")
    return found


def _unmet(requirement: Requirement) -> list[str]:
    try:
        there = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return [f"{requirement.name} is missing"]
    if requirement.specifier.contains(there, prereleases=True):
        return []
    return [f"{requirement.name} is {there}, wanted {requirement.specifier}"]
