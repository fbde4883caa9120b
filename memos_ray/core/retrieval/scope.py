"""One search's view of the store: who is searched, what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import Everything, HasAny
from memos_ray.core.retrieval import cues, languages, vectors
from memos_ray.core.retrieval.columns import ABSENT, Mask
from memos_ray.core.retrieval.names import Naming
from memos_ray.core.retrieval.postings import Occurrences
from memos_ray.core.retrieval.proper import words_of
from memos_ray.core.retrieval.query import RetrievalQuery
from memos_ray.core.retrieval.settings import RetrievalSettings, SignalWeights
from memos_ray.core.retrieval.store import MemoryStore
from memos_ray.core.retrieval.text import fold, split_words
from memos_ray.core.retrieval.views import quantise_rows
from memos_ray.errors import DimensionMismatchError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
_SPOKEN_SHARE = 0.05
_SIDE_BY_SIDE_FROM = 16_384
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class CorpusStatistics:
    """How common words are, for ranking memories that are only a sample of a namespace.

    Attributes:
        memories: how many there are.
        mean_length: mean number of terms in one.
        frequencies: in how many each term occurs, absent for none.
    """

    memories: int
    mean_length: float
    frequencies: dict[str, int]


class Scope:
    """What the signals need to know of a search. Lives as long as the search.

    Attributes:
        rows: permitted slots, ascending, `[n]`.
        allowed: permitted, by slot, `[high]`.
        basis: the slots over which word statistics are taken, by slot; a superset of `allowed`.
    """

    def __init__(
        self,
        store: MemoryStore,
        query: RetrievalQuery,
        statistics: CorpusStatistics | None = None,
    ) -> None:
        frame = store.frame
        self.store = store
        self.query = query
        self.statistics = statistics
        self.high = frame.high
        self.allowed: Mask = frame.mask(query.predicate)
        self.basis: Mask = self.allowed
        if query.visible is not None:
            self.basis = frame.mask(query.visible)
            if isinstance(query.predicate, Everything):
                self.allowed = self.basis
            else:
                self.allowed = self.allowed & self.basis
        self.rows: IntArray = self.allowed.nonzero()[0]
        self.basis_size = int(np.count_nonzero(self.basis))
        self.whole = self.basis_size == len(frame)

    @property
    def settings(self) -> RetrievalSettings:
        """Settings of the index."""
        return self.store.settings

    @cached_property
    def naming(self) -> Naming:
        """Participants that the query names, and its words without them."""
        if not self.settings.strip_names and self.settings.weights.speaker == 0:
            return Naming((), tuple(split_words(fold(self.query.text))))
        naming = self.store.names.find(self.query.text, self.query.hints.names)
        seen = tuple(name for name in naming.speakers if self._speaks(name))
        if not self.settings.strip_names:
            return Naming(seen, tuple(split_words(fold(self.query.text))))
        # A participant of whom nothing is visible is a word like any other.
        every = len(seen) == len(naming.speakers)
        return naming if every else self.store.names.find(self.query.text, seen)

    @property
    def terms(self) -> dict[str, str]:
        """Distinct terms of the query, each with the word it came from."""
        return self._matched[0]

    @property
    def occurrences(self) -> Occurrences:
        """Where the terms occur, within the basis."""
        return self._matched[1]

    @cached_property
    def _matched(self) -> tuple[dict[str, str], Occurrences]:
        terms = self.store.analyzer.query_terms(self.naming.words, self._spoken)
        found = self.find(terms)
        known = np.bincount(found.terms, minlength=len(terms)) > 0
        if known.all():
            return terms, found
        corrected = self._corrected(terms, known.tolist())
        return (terms, found) if corrected == terms else (corrected, self.find(corrected))

    def find(self, terms: Iterable[str]) -> Occurrences:
        """Where terms occur, within the basis."""
        return self._within_basis(self.store.postings.find(terms))

    def find_numbered(self, terms: IntArray) -> Occurrences:
        """Where terms occur, within the basis; by the numbers that the postings give them."""
        return self._within_basis(self.store.postings.find_numbered(terms))

    def _within_basis(self, found: Occurrences) -> Occurrences:
        if self.whole:
            return found
        kept = self.basis[found.slots]
        return Occurrences(found.terms[kept], found.slots[kept], found.counts[kept])

    def _corrected(self, terms: dict[str, str], known: Sequence[bool]) -> dict[str, str]:
        """Terms with those that nothing visible holds replaced by the commonest one slip away."""
        corrected: dict[str, str] = {}
        for (term, word), held in zip(terms.items(), known, strict=True):
            meant = term if held else self._meant(term)
            corrected.setdefault(meant, word if meant == term else f"{word} ({meant}?)")
        return corrected

    def _meant(self, term: str) -> str:
        near = tuple(self.store.postings.vocabulary.near(term))
        if not near:
            return term
        counts = np.bincount(self.find(near).terms, minlength=len(near)).tolist()
        count, other = min((-count, other) for count, other in zip(counts, near, strict=True))
        return other if count else term

    @cached_property
    def participants(self) -> frozenset[str]:
        """Words of the names of those who speak in the basis."""
        column = self.store.frame.coded("speaker")
        if column is None:
            return frozenset()
        codes = np.unique(column.codes[: self.high][self.basis]).tolist()
        return words_of(str(column.value(code)) for code in codes if code != ABSENT)

    @cached_property
    def tags(self) -> list[str]:
        """Tags that the query names."""
        return self.store.tags.named(self.query.text, self._spoken)

    @cached_property
    def borne(self) -> Mask | None:
        """Slots that bear a tag which the query names, `[high]`; nothing when none is named."""
        column = self.store.frame.coded("tags")
        if not self.tags or column is None:
            return None
        return column.mask(HasAny("tags", tuple(self.tags)), self.high)

    @property
    def dense(self) -> bool:
        """Whether every slot is permitted, so that arrays by slot are arrays by row."""
        return len(self.rows) == self.high

    def at(self, column: npt.NDArray[_Scalar], slots: IntArray) -> npt.NDArray[_Scalar]:
        """Entries of a column by slot at permitted slots, without a copy where all are asked."""
        return column[: self.high] if len(slots) == self.high else column[slots]

    @cached_property
    def own_cosines(self) -> tuple[FloatArray, Mask] | None:
        """Best cosine of the own views at `rows`, and where there is one; nothing when silent."""
        found = self._cosines
        return None if found is None else (found[0], self.at(self.store.own.held, self.rows))

    @property
    def context_cosines(self) -> FloatArray | None:
        """Cosine of the context view at `rows`, 0 where there is none; nothing when silent."""
        found = self._cosines
        return None if found is None else found[1]

    @cached_property
    def _cosines(self) -> tuple[FloatArray, FloatArray | None] | None:
        store, vector = self.store, self.vector
        if vector is None or not store.own.count:
            return None

        def own() -> FloatArray:
            values = store.own.cosines(vector, self.rows, self.high)
            store.extra.raise_to_best(vector, values, self.rows, self.high)
            return values

        def context() -> FloatArray:
            return store.context.cosines(vector, self.rows, self.high)

        if not store.context.count or not self.settings.weights.dense_context:
            return own(), None
        if len(self.rows) < _SIDE_BY_SIDE_FROM:
            return own(), context()
        return vectors.side_by_side(own, context)

    @cached_property
    def vector(self) -> vectors.Query | None:
        """The query vector, quantised; nothing when there is none.

        Raises:
            DimensionMismatchError: it is of another embedding space.
        """
        given = self.query.vector
        if given is None:
            return None
        for one in (given, *(other.vector for other in self.query.nameless)):
            if len(one) != self.store.dim:
                raise DimensionMismatchError(
                    "the query vector is of another embedding space",
                    expected=self.store.dim,
                    found=len(one),
                )
        scales, data = quantise_rows(self._without_names(given)[None, :])
        return vectors.Query(float(scales[0]), data) if scales[0] else None

    @cached_property
    def weights(self) -> SignalWeights:
        """Weights for this query: what the embedder cannot read is judged by its words."""
        weights = self.settings.weights
        legible = 0.0 if self.own_cosines is None else self.query.legible
        if legible == 1:
            return weights
        return replace(
            weights,
            dense_own=weights.dense_own * legible,
            dense_context=weights.dense_context * legible,
            bm25_own=weights.bm25_own + weights.dense_own * (1 - legible),
        )

    @cached_property
    def time_range(self) -> tuple[int, int] | None:
        """Wanted time, microseconds, half-open."""
        span = self.query.hints.time_range
        return None if span is None else (to_micros(span.start), to_micros(span.end))

    @cached_property
    def asks_time(self) -> bool:
        """Whether the answer is a time."""
        hint = self.query.hints.time_asked
        return cues.asks_time(self.query.text) if hint is None else hint

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """Chat roles whose memories are asked for; none when any will do."""
        hint = self.query.hints.roles
        if hint is not None:
            return hint
        return () if cues.asks_assistant(self.query.text) else self.settings.default_roles

    def _without_names(self, given: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The query's embedding without the participants that it names.

        Exact for one name; what several names do to an embedding is taken to add up.
        """
        left_out = self.naming.left_out
        result = given
        for other in self.query.nameless:
            if left_out.issuperset(split_words(fold(other.name))):
                result = result + (other.vector - given)
        return result

    def _speaks(self, name: str) -> bool:
        column = self.store.frame.coded("speaker")
        if column is None:
            return False
        said = column.codes[: self.high] == column.code(name)
        return bool((said & self.basis).any())

    @cached_property
    def _spoken(self) -> list[str]:
        """Languages of the basis, and that of the query when the basis has it at all."""
        column = self.store.languages
        counts = column.counts(None if self.whole else self.basis)
        total = sum(counts.values())
        common = [str(name) for name, count in counts.items() if count >= _SPOKEN_SHARE * total]
        guessed = languages.guess(self.naming.words)
        if guessed in counts and guessed not in common:
            common.append(guessed)
        return sorted(common)
