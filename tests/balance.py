"""Which worker runs which file: what starts clusters and engines on one, quick tests on another.

While a cluster starts or a replica is replaced there is much waiting, in which a quick test can
compute; two clusters at a time would take each other's cores, and quick ones at the end leave none
of the workers idle for long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

_TESTS = Path(__file__).parent
_SLOW = ("e2e", "serving", "fault", "upstream", "docs", "contract", "property")
# Those that take two minutes and more: begun late, one of them would keep a worker busy alone.
_LONGEST = (
    "e2e/test_lessons.py",
    "serving/test_trainers.py",
    "serving/test_vllm.py",
    "serving/test_deployment.py",
    "e2e/test_cli.py",
    "serving/test_vllm_adapters.py",
    "e2e/test_demo.py",
    "fault/test_soak.py",
)
assert all((_TESTS / file).is_file() for file in _LONGEST)


def place(item: pytest.Item) -> int:
    """Tells how far behind a test comes, by its file and its room below `tests/`: slowest first."""
    file = item.path.relative_to(_TESTS)
    if file.as_posix() in _LONGEST:
        return _LONGEST.index(file.as_posix()) - len(_LONGEST)
    room = file.parts[0]
    return _SLOW.index(room) if room in _SLOW else len(_SLOW)


class FromBothEnds(LoadFileScheduling):
    """Gives whole files away: the first ones to every other worker, the last ones to the rest."""

    def schedule(self) -> None:
        """Hands out the first files, in the order of collection."""
        self.config.option.loadscopereorder = False
        super().schedule()

    def _assign_work_unit(self, node: Any) -> None:
        if int(node.gateway.id.removeprefix("gw")) % 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)
