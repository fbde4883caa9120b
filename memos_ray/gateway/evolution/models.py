"""Feedback and evolution: what is said, and what is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from memos_ray.core.cube.payload import Form
from memos_ray.core.evolution import EvolutionKind, EvolutionMode, EvolvedState
from memos_ray.gateway.fields import Key, MemoryId, Model

Note = Annotated[str, StringConstraints(max_length=1000)]


class Feedback(Model):
    """What the caller says of a memory, or of an answer.

    Of an answer it is shared among the memories that the answer was given. A caller has one opinion
    of a memory: a new one takes the place of the old.
    """

    memory_id: MemoryId | None = None
    response: Key | None = None
    useful: bool
    note: Note | None = None

    @model_validator(mode="after")
    def _one(self) -> Feedback:
        if (self.memory_id is None) is (self.response is None):
            raise ValueError("give either a memory or an answer")
        return self


class FeedbackResult(Model):
    """Of which memories the opinion is kept, and what each is worth by all that is known of it."""

    worth: dict[str, float]


class EvolutionSource(Model):
    """A memory that a proposal is about, at the version that was looked at."""

    id: str
    version: int


class EvolutionProposal(Model):
    """What use suggests.

    Accepting a `split` makes a memory of each part and puts the whole away; accepting a `summary`
    makes one memory of `texts` and puts what it sums up away. Accepting a `promotion` has `model`
    begin its prompts with the sources as a KV cache (`form` is `activation`), or learn them
    (`parameter`). All are undone by `undo`.
    """

    id: str
    kind: EvolutionKind
    state: EvolvedState
    sources: list[EvolutionSource]
    reasons: list[str]
    texts: list[str]
    made: list[EvolutionSource]
    found_at: datetime
    model: str = ""
    form: Form = Form.PLAINTEXT


class EvolutionStatus(Model):
    """How a namespace evolves. `worth` is of the memories that anything is known of."""

    mode: EvolutionMode
    proposals: list[EvolutionProposal]
    worth: dict[str, float]


class EvolutionSetting(Model):
    """What happens in a namespace by itself; `automatic` does it with the caller's rights."""

    mode: Annotated[EvolutionMode, Field()]
