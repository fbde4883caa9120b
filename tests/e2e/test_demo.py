"""The demo, as a newcomer runs it: a real cluster, a real SIGKILL, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_demo_runs_to_its_end() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), "--questions", "2"],
        capture_output=True,
        text=True,
        timeout=1180,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "lost: 0, stored twice: 0" in run.stdout
    assert "agent:stranger gets: not_found" in run.stdout
    assert "memory as a KV cache" in run.stdout
    assert "the model has learnt 8 memories" in run.stdout
    assert "stopped cleanly" in run.stdout
