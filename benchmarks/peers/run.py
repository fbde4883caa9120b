"""Measures one system in this process: `python -m benchmarks.peers.run SYSTEM FOLDER`.

The folder holds the workload and the vectors; the figures are written there as `SYSTEM.json`, for
some systems write to standard output themselves.
"""

from __future__ import annotations

import importlib
import json
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.peers.measuring import Workload, measure
from benchmarks.peers.vectors import VectorTable

MODULES = {
    "memos_ray": "memos_ray_sdk",
    "mem0": "mem0_qdrant",
    "memoryos": "memoryos_general_text",
    "langgraph_sqlite": "langgraph_sqlite",
    "lancedb_hybrid": "lancedb_hybrid",
}


def run(name: str, folder: Path) -> None:
    """Measures a system and writes its figures."""
    module = importlib.import_module(f"benchmarks.peers.systems.{MODULES[name]}")
    work, table = Workload.load(folder / "workload.json"), VectorTable(folder)
    home = folder / name
    home.mkdir()
    system = module.open_system(home, table)
    try:
        figures, more = measure(system, work)
    finally:
        system.close()
    versions = {package: metadata.version(package) for package in module.PACKAGES}
    more_still = {**more, "settings": module.SETTINGS, "versions": versions}
    (folder / f"{name}.json").write_text(json.dumps({"figures": figures, "more": more_still}))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
