"""Cross-task reuse: what is asked, and what is offered."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from memos_ray.gateway.fields import Model, NamespaceName, printable
from memos_ray.gateway.memories.models import Memory


class ReuseQuery(Model):
    """A task at hand, in words; where to look as in a search.

    What this task has used itself, by the purpose that the call states, is left out.
    """

    task: Annotated[
        str, StringConstraints(min_length=1, max_length=32_768), AfterValidator(printable)
    ]
    namespaces: Annotated[list[NamespaceName], Field(min_length=1, max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 10


class EarlierTask(Model):
    """A task that is like the one at hand, `alike` by 0 to 1, and why."""

    name: str
    alike: float
    memories: int
    reasons: list[str]


class ReusedMemory(Model):
    """A memory that earlier tasks have used. Scores order one answer and mean nothing across."""

    memory: Memory
    score: float
    reasons: list[str]


class ReuseResult(Model):
    """What earlier tasks have used; `partial` says that there is more than was looked at."""

    tasks: list[EarlierTask]
    offers: list[ReusedMemory]
    partial: bool
