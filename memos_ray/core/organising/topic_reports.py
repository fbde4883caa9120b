"""What a shard tells of the topics of a namespace."""

from __future__ import annotations

from dataclasses import dataclass

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.organising.topics import Concept, Topic


@crossing
@dataclass(frozen=True, slots=True)
class TopicReport:
    """The topics of a namespace, for one reader.

    Attributes:
        topics: the largest first.
        waiting: memories that have not been sorted in yet, of whomever.
        resident: whether the namespace fits in memory; otherwise it has no topics.
    """

    topics: tuple[Topic, ...]
    waiting: bool
    resident: bool


@crossing
@dataclass(frozen=True, slots=True)
class TopicMemories:
    """One topic, or one concept of it, with a page of its memories, the newest first."""

    topic: Topic
    concept: Concept | None
    memories: tuple[MemCube, ...]
    more: bool


@crossing
@dataclass(frozen=True, slots=True)
class TopicMatch:
    """The topic, and its concept, that a query is about.

    Attributes:
        alike: cosine of the query and the concept.
    """

    topic: Topic
    concept: Concept
    alike: float
