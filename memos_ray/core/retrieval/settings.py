"""Settings of the ranking: weights, BM25 constants, contexts, views."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from math import ceil, isfinite

from memos_ray.errors import ConfigurationError


class Granularity(StrEnum):
    """Into what pieces a memory is embedded: `CHUNK` cuts long texts only, `SENTENCE` all."""

    CHUNK = "chunk"
    SENTENCE = "sentence"


@dataclass(frozen=True, slots=True)
class SignalWeights:
    """One weight per signal; 0 switches it off and saves its cost."""

    bm25_context: float = 0.5
    bm25_own: float = 0.0
    dense_own: float = 0.5
    dense_context: float = 0.5
    speaker: float = 2.5
    role: float = 2.5
    tag: float = 2.5
    date: float = 3.0
    when: float = 1.0
    name: float = 1.0
    question: float = -0.75
    graph: float = 1.5
    worth: float = 0.25


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """Which texts are embedded for a memory.

    Attributes:
        context_words: the predecessor joins only while both stay within this many words.
        chunk_words_min: a text of so many words is one view, and a chunk is not cut smaller.
        chunk_words_max: a chunk is not cut larger.
        target_chunks: in between, a text is cut into about so many chunks.
        max_chunks: what lies beyond is found by its words only.
    """

    granularity: Granularity = Granularity.CHUNK
    context_words: int = 120
    chunk_words_min: int = 30
    chunk_words_max: int = 120
    target_chunks: int = 8
    max_chunks: int = 40

    def chunk_words(self, words: int) -> int:
        """Size of the chunks of a text of `words` words."""
        ideal = ceil(words / self.target_chunks)
        return min(max(ideal, self.chunk_words_min), self.chunk_words_max)


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """All of the ranking.

    Attributes:
        k1: BM25 term saturation.
        b: BM25 length normalisation, 0 to 1.
        context_words: neighbours join a memory's context only while it stays within this.
        context_reach: at most so many neighbours on each side.
        default_roles: whose memories a query asks about unless it says otherwise. A user's own
            words hold what is to be remembered; an assistant's answers are long and repeat them.
        strip_names: take the names of participants out of the query's words.
        audience: neighbours lend their words only to memories with equal values of these facets,
            so that no text shines through to a reader who may not see it.

    Raises:
        ConfigurationError: when a value is out of range.
    """

    weights: SignalWeights = field(default_factory=SignalWeights)
    views: ViewSettings = field(default_factory=ViewSettings)
    k1: float = 1.2
    b: float = 0.75
    context_words: int = 120
    context_reach: int = 2
    default_roles: tuple[str, ...] = ("user",)
    strip_names: bool = True
    audience: tuple[str, ...] = ("owner", "visibility", "readers", "sensitivity", "compliance")

    def __post_init__(self) -> None:
        for item in fields(SignalWeights):
            _check(isfinite(getattr(self.weights, item.name)), f"weights.{item.name}")
        _check(isfinite(self.k1) and self.k1 >= 0, "k1")
        _check(0 <= self.b <= 1, "b")
        _check(self.context_words >= 0, "context_words")
        _check(0 <= self.context_reach <= 8, "context_reach")
        _check(self.views.context_words >= 0, "views.context_words")
        _check(self.views.chunk_words_min >= 1, "views.chunk_words_min")
        _check(self.views.chunk_words_max >= self.views.chunk_words_min, "views.chunk_words_max")
        _check(self.views.target_chunks >= 1, "views.target_chunks")
        _check(1 <= self.views.max_chunks <= 1000, "views.max_chunks")


def _check(holds: bool, name: str) -> None:
    if not holds:
        raise ConfigurationError("a retrieval setting is out of range", setting=name)
