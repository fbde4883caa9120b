"""What a search frees serves the next one."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys
import numpy as np
from memos_ray.actors.vault.heap import keep_what_searches_free

def cleared() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.zeros(100_000) + number for number in range(10)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    keep_what_searches_free()
cleared()
print(cleared())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_pages_are_not_cleared_anew_for_every_search() -> None:
    def pages(how: str) -> int:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, check=True, timeout=120
        )
        return int(run.stdout)

    assert pages("kept") * 10 < pages("as it comes")
