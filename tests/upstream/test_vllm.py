"""vLLM still has what this project relies on; an upgrade that breaks it fails here, saying how."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.optional import need
from tests.upstream.vllm_surface import RELIED

need("vllm")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.upstream.vllm_surface"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    read: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return read


@pytest.mark.parametrize("path", [relied.path for relied in RELIED])
def test_it_is_there(path: str, found: dict[str, Any]) -> None:
    assert found["relied"][path] is None, found["relied"][path]


def test_the_connector_overrides_what_vllm_calls(found: dict[str, Any]) -> None:
    assert found["connector"] == []
