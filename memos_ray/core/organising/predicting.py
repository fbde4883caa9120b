"""Predicted tags: what can be told of a memory without asking, kept apart from the given tags.

They are worked out when they are asked for and rest nowhere, so that they follow every change and
end with their memory. They are guesses: no rule of a policy is about them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.facets import FacetValue
from memos_ray.core.cube.metadata import Origin, SemanticType
from memos_ray.core.cube.predicted import Credibility, Predicted, Sentiment, Source
from memos_ray.core.organising.feelings import Feelings, feelings

WORDS_MODEL = "memos-words-1"
RULES_MODEL = "memos-rules-1"
TOPICS_MODEL = "memos-topics-1"


@crossing
@dataclass(frozen=True, slots=True)
class PredictedTag:
    """One guess.

    Attributes:
        confidence: 0 to 1; an order of trust and no probability.
        model: what made the guess, with its version.
        reasons: for people; they may quote the memory.
    """

    kind: Predicted
    value: str
    confidence: float
    model: str
    reasons: tuple[str, ...]


_MODELS_OWN = frozenset((Origin.INFERENCE, Origin.FINE_TUNING, Origin.CONVERSION))
_RELIANCE = {
    Source.DOCUMENT: 0.8,
    Source.USER: 0.7,
    Source.EXTERNAL: 0.6,
    Source.IMPORT: 0.6,
    Source.ASSISTANT: 0.5,
    Source.MODEL: 0.4,
}
_DOUBT = 0.25
_HIGH, _LOW = 0.7, 0.4
_SOURCE_SURE, _CREDIBILITY_SURE = 0.9, 0.5


def predict(text: str, facets: Mapping[str, FacetValue]) -> tuple[PredictedTag, ...]:
    """Guesses source, credibility and sentiment of one memory."""
    felt = feelings(text)
    source, why = source_of(facets)
    reliance = _RELIANCE[source] - (_DOUBT if felt.unsure else 0.0)
    reasons = [f"{source.value}: {_RELIANCE[source]:.2f}"]
    if felt.unsure:
        reasons.append(f"it is not sure of itself: -{_DOUBT:.2f}")
    mood = sentiment_of(felt)
    share = abs(felt.good - felt.bad) / max(1, felt.good + felt.bad)
    sure = round(0.5 + 0.4 * share * min(1.0, (felt.good + felt.bad) / 3), 3)
    return (
        PredictedTag(Predicted.SOURCE, source.value, _SOURCE_SURE, RULES_MODEL, (why,)),
        PredictedTag(
            Predicted.CREDIBILITY,
            _level(reliance).value,
            _CREDIBILITY_SURE,
            RULES_MODEL,
            tuple(reasons),
        ),
        PredictedTag(
            Predicted.SENTIMENT,
            mood.value,
            sure if mood is not Sentiment.NEUTRAL else 0.5,
            WORDS_MODEL,
            (f"{felt.good} glad and {felt.bad} sad words",),
        ),
    )


def source_of(facets: Mapping[str, FacetValue]) -> tuple[Source, str]:
    """Whom or what a memory comes from, and by which of its facets."""
    origin, role = facets.get("origin"), facets.get("role")
    if origin in _MODELS_OWN:
        return Source.MODEL, f"its origin is {origin}"
    if facets.get("semantic_type") == SemanticType.DOCUMENT:
        return Source.DOCUMENT, "it is part of a document"
    if role == "assistant":
        return Source.ASSISTANT, "an assistant said it"
    if origin == Origin.RETRIEVAL:
        return Source.EXTERNAL, f"its origin is {origin}"
    if origin == Origin.IMPORT and role != "user":
        return Source.IMPORT, f"its origin is {origin}"
    return Source.USER, "a user said it" if role else "a user wrote it"


def credibility_of(facets: Mapping[str, FacetValue], unsure: bool) -> Credibility:
    """How far a memory of these facets may be relied on."""
    return _level(_RELIANCE[source_of(facets)[0]] - (_DOUBT if unsure else 0.0))


def sentiment_of(felt: Feelings) -> Sentiment:
    """The feeling that outweighs the other."""
    if felt.good == felt.bad:
        return Sentiment.NEUTRAL
    return Sentiment.POSITIVE if felt.good > felt.bad else Sentiment.NEGATIVE


def _level(reliance: float) -> Credibility:
    if reliance >= _HIGH:
        return Credibility.HIGH
    return Credibility.MEDIUM if reliance > _LOW else Credibility.LOW
