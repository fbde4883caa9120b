"""Which worker runs which file: what starts clusters and engines on one, quick tests on another.

While a cluster starts or a replica is replaced there is much waiting, in which a quick test can
compute; two clusters at a time would take each other's cores, and quick ones at the end leave none
of the workers idle for long.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

_SLOW = ("e2e", "serving", "fault", "upstream", "docs", "contract", "property")


def place(item: pytest.Item) -> int:
    """Tells how far behind a test comes, by its room below `tests/`: the slowest first."""
    room = item.path.relative_to(item.config.rootpath / "tests").parts[0]
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
