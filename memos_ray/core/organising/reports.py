"""What a shard tells of the order among a namespace's memories."""

from __future__ import annotations

from dataclasses import dataclass

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.organising.proposals import Proposal


@crossing
@dataclass(frozen=True, slots=True)
class ShownProposal:
    """A proposal, for somebody who may read both memories.

    Attributes:
        reasons: for people; they quote the memories.
    """

    proposal: Proposal
    older: MemCube
    newer: MemCube
    reasons: tuple[str, ...]


@crossing
@dataclass(frozen=True, slots=True)
class OrganisingReport:
    """What is proposed in a namespace.

    Attributes:
        automatic: whether what is sure is done at once.
        lag: log entries of the partition that have not been looked at.
    """

    proposals: tuple[ShownProposal, ...]
    automatic: bool
    lag: int
