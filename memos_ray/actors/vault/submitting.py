"""How what follows a partition's log has writes committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memos_ray.core.vault.operations import Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError


class SubmittingPort(Protocol):
    """Commits writes that have been decided about already; see `PartitionWriter.submit`."""

    async def __call__(
        self, submissions: Sequence[Submission], /, *, whole: bool = False
    ) -> list[Written | MemosError]:
        """Returns one outcome for each write, in order.

        Args:
            whole: whether none is to have an effect when one cannot have it.
        """
        ...
