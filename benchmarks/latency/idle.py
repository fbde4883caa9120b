"""RAM of an embedded cluster that has nothing to do, by kind of process."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.isolation import isolated
from benchmarks.processes import tree_by_name
from memos_ray import MemOS
from memos_ray.config import GatewaySettings, Settings


def measure() -> dict[str, object]:
    """Returns the figures of a cluster inside a program, and of one that `memos-ray up` runs."""
    return {"sdk": isolated(_inside_a_program), "rest": isolated(_with_a_door)}


def _inside_a_program() -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder, MemOS(data=folder) as memos:
        # One memory found: every part has been used, models are loaded.
        memos.add("The kettle is descaled on the first of the month")
        memos.search("when is the kettle descaled?", wait_indexed=True)
        return _figures()


def _with_a_door() -> dict[str, object]:
    # Here, so that it does not count as a part of the program above.
    from memos_ray.cli.cluster.server import Server

    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        server = Server(Settings(data=Path(folder), gateway=GatewaySettings(port=0)))
        server.start()
        try:
            return _figures()
        finally:
            server.stop()


def _figures() -> dict[str, object]:
    kinds = tree_by_name()
    return {
        "rss_mib": round(sum(kind["rss_mib"] for kind in kinds.values()), 1),
        "pss_mib": round(sum(kind["pss_mib"] for kind in kinds.values()), 1),
        "processes": kinds,
    }
