"""memos-ray beside mem0, MemoryOS, LangGraph and LanceDB, on this machine and in one run.

    scripts/install-peers && python -m benchmarks.peers --data FILE

Every system stores the same memories in the same order and answers the same questions, in a process
of its own, one after another, without a network. Embedding is excluded for all alike: the vectors
of all texts and questions are computed beforehand by memos-ray's bundled embedder, and each system
looks them up through its own embedder interface. Systems without speakers get them in front of the
text.

    adds_per_s      acknowledged, made-up memories in calls of 500
    add_p50_ms      one memory in one call
    search_p50_ms   the file's questions, each in its own conversation, 10 hits
    recall@10       of the same questions, "adversarial" ones left out
    rss_mb          of the whole process tree at the end, in 10^6 bytes

`_more` adds the rates until new memories can be found by every means of the system, the tails, and
searches among the made-up memories, which are one large namespace.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.peers import workload
from benchmarks.peers.run import MODULES
from memos_ray.adapters.onnx_embedder import OnnxEmbedder

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".env-peers" / "bin" / "python"
_DEFAULT = ROOT / "examples" / "conversation.json"
_LIMIT_S = 3600.0
# Nobody fetches models or reports usage while it is measured.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "MEM0_TELEMETRY": "False",
    "POSTHOG_DISABLED": "1",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def compare(data: Path, systems: list[str], memories: int, lone: int) -> dict[str, object]:
    """Measures the systems and returns their figures by name."""
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as name:
        folder = Path(name)
        work = workload.build(data.read_bytes(), memories, lone)
        work.save(folder / "workload.json")
        _say("embedding all texts")
        started = time.perf_counter()
        workload.embed(work, OnnxEmbedder(), folder)
        embedding_s = time.perf_counter() - started
        found = {system: measured(system, folder) for system in systems}
    return {
        **{system: one["figures"] for system, one in found.items()},
        "_more": {system: one["more"] for system, one in found.items()},
        "_workload": {
            "data": data.name,
            "memories": len(work.filler) + sum(map(len, work.spaces.values())),
            "made_up": len(work.filler),
            "conversations": len(work.spaces),
            "questions": len(work.questions),
            "batch": work.batch,
            "embedding_beforehand_s": round(embedding_s, 1),
        },
        "_machine": describe(),
    }


def measured(system: str, folder: Path) -> dict[str, Any]:
    """Measures a system in a process of its own.

    Args:
        folder: with the workload and the vectors; the system gets a folder in it.

    Returns:
        `figures`, the same for all systems, and `more`.
    """
    _say(f"{system}:")
    python = sys.executable if system == "memos_ray" else str(PEERS_PYTHON)
    environment = {
        **os.environ,
        **_OFFLINE,
        "PYTHONPATH": str(ROOT),
        "MEM0_DIR": str(folder / "mem0-home"),
        "MEMOS_BASE_PATH": str(folder / "memoryos-home"),
        "MEMOS_BENCH_TABLE": str(folder),
    }
    done = subprocess.run(
        [python, "-m", "benchmarks.peers.run", system, str(folder)],
        env=environment,
        cwd=folder,
        stdout=sys.stderr,
        timeout=_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{system} could not be measured (exit status {done.returncode})")
    found: dict[str, Any] = json.loads((folder / f"{system}.json").read_text())
    return found


def main() -> None:
    """Parses the command line and prints the figures."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=_DEFAULT)
    parser.add_argument("--memories", type=int, default=6_000)
    parser.add_argument("--lone", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=list(MODULES), default=list(MODULES))
    chosen = parser.parse_args()
    if not PEERS_PYTHON.exists() and set(chosen.only) - {"memos_ray"}:
        raise SystemExit("the peers are not installed: scripts/install-peers")
    figures = compare(chosen.data, chosen.only, chosen.memories, chosen.lone)
    print(json.dumps(figures, indent=1))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
