"""A small, seeded part of the soak, in which each part is killed once; see `tests.fault.soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.cluster_process import PARTS, ClusterProcess
from tests.fault.soak import Soak


@pytest.mark.fault
@pytest.mark.timeout(1200)
def test_what_was_acknowledged_survives_every_kill(tmp_path: Path) -> None:
    report = Soak(ClusterProcess(tmp_path / "data"), kills=len(PARTS), seed=5).run()
    assert report["wrong"] == []
    assert report["kills"] == {"all": len(PARTS), **dict.fromkeys(PARTS, 1)}
