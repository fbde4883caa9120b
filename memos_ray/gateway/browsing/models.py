"""Browsing: topics, predicted tags, relations, and where a search goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from memos_ray.core.cube.predicted import Predicted
from memos_ray.core.organising.layers import Layer
from memos_ray.core.organising.relations import Relation
from memos_ray.gateway.fields import Model, printable
from memos_ray.gateway.memories.models import Memory

TopicName = Annotated[
    str, StringConstraints(min_length=1, max_length=512), AfterValidator(printable)
]


class ConceptSummary(Model):
    """Memories of nearly one meaning.

    `label` is made of words of the memories themselves; `typical` are ids of some of them. What the
    caller may not read is neither counted nor quoted.
    """

    id: str
    label: str
    memories: int
    typical: list[str]


class TopicSummary(ConceptSummary):
    """Concepts that belong together, the largest first.

    `titled_by` is the model in whose words the label is; where nobody reads for extraction, or it
    has found none yet, labels are in the memories' own.
    """

    concepts: list[ConceptSummary]
    titled_by: str | None = None


class TopicList(Model):
    """The topics of a namespace, the largest first.

    `waiting` says that memories are still to be sorted in. A namespace that is not `resident`, for
    it exceeds the memory budget, has no topics.
    """

    topics: list[TopicSummary]
    waiting: bool
    resident: bool


class TopicPage(Model):
    """A topic, or the concept of it that was asked for, with a page of its memories."""

    topic: TopicSummary
    concept: ConceptSummary | None
    memories: list[Memory]
    cursor: str | None = None


class Prediction(Model):
    """A tag that nobody has given: a guess, by `model`, for `reasons`.

    `confidence` orders guesses, and is no probability.
    """

    kind: Predicted
    value: str
    confidence: float
    model: str
    reasons: list[str]


class PredictionList(Model):
    """What is predicted of a memory."""

    id: str
    predicted: list[Prediction]


class EntityCount(Model):
    """A name that memories tell, or that of somebody who speaks in them (`speaks`)."""

    name: str
    memories: int
    speaks: bool


class EntityList(Model):
    """The names of a namespace, those of most memories first."""

    entities: list[EntityCount]


class RelatedMemory(Model):
    """A memory that another one has to do with: `relation` says how, `why` by what.

    `steps` counts how far a dependency lies.
    """

    relation: Relation
    why: str
    steps: int
    memory: Memory


class RelatedList(Model):
    """What a memory has to do with others: what it was made of first, then time, then words."""

    id: str
    related: list[RelatedMemory]


class RouteQuery(Model):
    """A query whose way through the caller's namespaces is to be planned."""

    query: Annotated[str, StringConstraints(max_length=32_768), AfterValidator(printable)]


class RouteTopic(Model):
    """A topic that a query is about; `alike` is the cosine with its nearest concept."""

    id: str
    label: str
    concept: str
    alike: float


class RouteStep(Model):
    """A namespace to search, and why."""

    namespace: str
    layer: Layer
    topics: list[RouteTopic]
    reasons: list[str]


class RoutePlan(Model):
    """Where a search goes, in order; `left_out` are namespaces that it does not go to, and why."""

    steps: list[RouteStep]
    left_out: dict[str, str]
    reasons: list[str]


class LayerList(Model):
    """The namespaces that the caller may read, by layer."""

    layers: dict[Layer, list[str]]


Most = Annotated[int, Field(ge=1, le=200)]
