"""What can be predicted of a memory, and the fields by which searches filter on it.

Predicted tags are no facets: they rest nowhere, and no rule of a policy is about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

PREFIX = "predicted."


class Predicted(StrEnum):
    """What is predicted."""

    TOPIC = "topic"
    SOURCE = "source"
    CREDIBILITY = "credibility"
    SENTIMENT = "sentiment"


class Source(StrEnum):
    """Whom or what a memory comes from."""

    USER = "user"
    ASSISTANT = "assistant"
    DOCUMENT = "document"
    EXTERNAL = "external"
    MODEL = "model"
    IMPORT = "import"


class Credibility(StrEnum):
    """How far a memory may be relied on."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Sentiment(StrEnum):
    """The feeling that a text shows; `NEUTRAL` when it shows none, or both."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"


CHOICES: Mapping[Predicted, type[StrEnum]] = {
    Predicted.SOURCE: Source,
    Predicted.CREDIBILITY: Credibility,
    Predicted.SENTIMENT: Sentiment,
}
"""The values that can be predicted; those of topics are labels and ids."""

FIELDS: Mapping[str, Predicted] = {PREFIX + kind.value: kind for kind in Predicted}
"""The fields of filters, each with what it is about."""
