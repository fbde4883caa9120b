"""PIPE-2: the shipped example, whose runner is killed while a run is under way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_EXAMPLE = Path(__file__).parents[2] / "examples" / "pipelines" / "legal_assistant.py"


@pytest.mark.e2e
@pytest.mark.fault
def test_PIPE_2_the_legal_assistant_loses_its_runner_and_nothing_else() -> None:
    run = subprocess.run(
        [sys.executable, str(_EXAMPLE)],
        capture_output=True,
        text=True,
        timeout=580,
        cwd=_EXAMPLE.parents[2],
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "every write once" in run.stdout
