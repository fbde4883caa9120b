"""A small, seeded part of the soak: see `tests/fault/soak.py` for all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.soak import soak


@pytest.mark.fault
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    report = soak(tmp_path / "data", kills=8, seed=3)
    assert report["wrong"] == []
    assert report["refused"] == []
    assert report["acknowledged"] > 100
    assert report["kills"]["shard"] > 0
