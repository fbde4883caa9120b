"""What goes into a search and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import Facets, facets_of
from memos_ray.core.cube.metadata import TimeSpan
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.cube.predicate import Everything, Predicate
from memos_ray.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class IndexedMemory:
    """What the index needs to know of one memory.

    Attributes:
        facets: see `core.cube.facets`; `id` is implied and must agree when present.
        mentions: spans of time that the text speaks of.
        language: ISO 639-1 code when known; guessed from the text otherwise.

    Raises:
        InvalidInputError: when the id is empty or differs from the facet of that name.
    """

    id: str
    text: str
    facets: Facets
    mentions: tuple[TimeSpan, ...] = ()
    language: str | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise InvalidInputError("a memory needs an id", field="id")
        if self.facets.get("id", self.id) != self.id:
            raise InvalidInputError("the facets belong to another memory", field="facets.id")

    @classmethod
    def of(cls, cube: MemCube) -> IndexedMemory:
        """Takes from a cube what the index needs."""
        language = cube.payload.language if isinstance(cube.payload, Plaintext) else None
        return cls(cube.id, cube.text, facets_of(cube), cube.descriptive.mentions, language)


@crossing
@dataclass(frozen=True, slots=True)
class QueryHints:
    """What is known about a query besides its words; every part may be missing.

    Attributes:
        names: participants that the query names; absent: found by the index among the speakers it
            holds; empty: none are named.
        roles: chat roles that the query asks about, such as `("user",)`; absent: judged from the
            text and the settings; empty: none in particular.
        time_range: when the wanted thing was said or happened, half-open.
        yearly: whether `time_range` is meant for any year ("in June"), the given one being a guess.
        time_asked: whether the answer is a time ("when did ..."); absent: judged from the text.
    """

    names: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None
    time_range: TimeSpan | None = None
    time_asked: bool | None = None
    yearly: bool = False


@crossing
@dataclass(frozen=True, slots=True, eq=False)
class Nameless:
    """The embedding of a query without one of the names in it.

    Attributes:
        name: what may be the name of a participant.
        vector: embedding of the query without it, `[dim]`.
    """

    name: str
    vector: npt.NDArray[np.float32]


@crossing
@dataclass(frozen=True, slots=True, eq=False)
class RetrievalQuery:
    """One search.

    Attributes:
        text: the question; empty lists what the filter admits, newest first.
        vector: its embedding `[dim]`, any length above zero; absent: the dense signals are silent.
        predicate: what may be returned.
        visible: what the caller may see at all (policy), joined to `predicate` by "and". Rarity of
            words and mean lengths are taken over it, and over `predicate` when it is absent, so
            that what a caller may not see never moves a score.
        k: how many results are wanted.
        offset: how many of the best to skip (paging).
        explain: whether results carry their parts.
        nameless: the embedding again, for each name in the text. Whether a name is that of a
            participant is known to the index alone; only then is it left out.
        legible: how much of the text the embedder can read, 0 to 1. The rest of the trust in the
            dense signals goes to the memory's own words.
        min_relevance: results less likely to matter than this are left out; see
            `core.retrieval.relevance`. Then a query without any evidence finds nothing.
        worth: what memories have proved to be worth, by id, -1 to 1; those without are 0.

    Raises:
        InvalidInputError: when `k` or `offset` is negative, a share is none, or a vector is not
            finite.
    """

    text: str
    vector: npt.NDArray[np.float32] | None = None
    predicate: Predicate = field(default_factory=Everything)
    visible: Predicate | None = None
    k: int = 10
    offset: int = 0
    hints: QueryHints = field(default_factory=QueryHints)
    explain: bool = True
    nameless: tuple[Nameless, ...] = ()
    legible: float = 1.0
    min_relevance: float = 0.0
    worth: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.k < 0 or self.offset < 0:
            raise InvalidInputError("k and offset may not be negative", field="k")
        if not 0 <= self.legible <= 1:
            raise InvalidInputError("what is legible is a share", field="legible")
        if not 0 <= self.min_relevance <= 1:
            raise InvalidInputError("relevance is a probability", field="min_relevance")
        vectors = [other.vector for other in self.nameless]
        if self.vector is not None:
            vectors.append(self.vector)
        if any(one.ndim != 1 or not bool(np.isfinite(one).all()) for one in vectors):
            raise InvalidInputError("a query vector is one row of finite numbers", field="vector")


@crossing
@dataclass(frozen=True, slots=True)
class SignalPart:
    """One signal's share in a score.

    Attributes:
        signal: its name, such as `bm25_context`.
        raw: what it measured, in its own unit (BM25 points, cosine, share of a range).
        normalised: what was weighed: the z-score of `raw`, or `raw` itself for a prior.
        contribution: `weight * normalised`.
        note: for people: the words that matched, the name that was asked for.
    """

    signal: str
    raw: float
    normalised: float
    weight: float
    contribution: float
    note: str = ""


@crossing
@dataclass(frozen=True, slots=True)
class Scored:
    """One result.

    Attributes:
        score: sum of the contributions of `parts`, where those are present. Scores order the
            results of one search; they mean nothing across searches.
        relevance: how likely the memory matters to the query, 0 to 1; absent without evidence.
    """

    id: str
    score: float
    parts: tuple[SignalPart, ...] = ()
    relevance: float | None = None
