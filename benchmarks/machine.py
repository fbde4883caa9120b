"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import psutil

_PACKAGES = ("memos-ray", "ray", "numpy", "onnxruntime", "sqlalchemy", "pymilvus", "milvus-lite")


def describe(*more: str) -> dict[str, object]:
    """Returns the machine and the versions of the packages that matter."""
    versions = {}
    for name in (*_PACKAGES, *more):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions,
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
