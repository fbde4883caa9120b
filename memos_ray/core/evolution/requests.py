"""What a shard is asked about feedback and evolution, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from memos_ray.core.access.context import CallContext
from memos_ray.core.crossing import crossing
from memos_ray.core.evolution.proposals import Evolved


class EvolutionMode(StrEnum):
    """What happens in a namespace by itself.

    `MANUAL`: nothing is looked for unless somebody asks. `PROPOSE`: what is found is proposed.
    `AUTOMATIC`: it is done, with the rights of who has set this.
    """

    MANUAL = "manual"
    PROPOSE = "propose"
    AUTOMATIC = "automatic"


class Verdict(StrEnum):
    """What becomes of a proposal."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    UNDO = "undo"


@crossing
@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """What a caller says of memories.

    Attributes:
        value: of each: 1 for useful, -1 for not, a share of it for an answer that had several.
        response: id of the answer that it is about.
        note: for people; kept with the opinion, and erased with the memory.
    """

    context: CallContext
    ids: tuple[str, ...]
    value: float
    response: str | None = None
    note: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """Of which memories the opinion is kept, and what each is worth now."""

    worth: Mapping[str, float]


@crossing
@dataclass(frozen=True, slots=True)
class ShownEvolution:
    """A proposal, for somebody who may read all of its memories.

    Attributes:
        texts: of the memories that it would make or has made.
    """

    proposal: Evolved
    texts: tuple[str, ...]


@crossing
@dataclass(frozen=True, slots=True)
class EvolutionReport:
    """How a namespace evolves.

    Attributes:
        worth: of the memories that anything is known of, the most useful first.
    """

    mode: EvolutionMode
    proposals: tuple[ShownEvolution, ...] = ()
    worth: Mapping[str, float] = field(default_factory=dict)
