"""The resident index: one namespace, or one partition's share of it, searched exactly in RAM."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from memos_ray.core.cube.predicate import OneOf, Predicate, all_of
from memos_ray.core.retrieval import fusion, related, saying
from memos_ray.core.retrieval.query import IndexedMemory, RetrievalQuery, Scored
from memos_ray.core.retrieval.scope import CorpusStatistics, Scope
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.retrieval.store import MemoryStore
from memos_ray.core.retrieval.text import Analyzer, shared_analyzer
from memos_ray.core.retrieval.views import VectorSet, ViewPlan


class ResidentIndex:
    """Memories of one namespace, ready to be searched.

    Invariants:
        - A search sees every `upsert`, `remove` and `attach_vectors` before it. A memory whose
          vectors are still missing is found by its words; the dense signals count it as average.
        - Results depend on the memories and their vectors alone, not on the order of the calls
          that brought them here.
        - A vector serves only as long as its view is planned. Changing a text, or changing or
          removing its predecessor, drops what was computed from it.
        - Nothing that `RetrievalQuery.visible` hides moves a score: word statistics, z-scores,
          names and languages are taken over visible memories, and contexts join memories of one
          audience only (`RetrievalSettings.audience`). Without `visible`, this holds for
          `predicate`. What remains: the length of a context counts hidden neighbours of the same
          audience, which a policy by other facets than those may create.

    Concurrency: one thread at a time; calls finish without waiting for anything. A search of many
    memories has a second thread of its own for half of the vectors, until it returns.

    Complexity, with n memories: `search` is linear in n with a small constant (one int8 product a
    view) plus the entries of the query's terms; `upsert` and `remove` are linear in the text and
    the neighbours within reach, plus an amortised sweep of dead postings.

    Memory: two vectors of `dim` bytes, the text twice (as it is, and as postings), and a few
    hundred bytes, a memory; see `memory_bytes`.
    """

    def __init__(
        self,
        dim: int,
        settings: RetrievalSettings | None = None,
        *,
        analyzer: Analyzer | None = None,
        max_gap: int | None = None,
    ) -> None:
        """Makes an empty index.

        Args:
            dim: width of the embedding space.
            analyzer: shared by the indexes of a process when absent; it caches words.
            max_gap: neighbours stand at most so many positions apart; any number when absent.
        """
        chosen = settings or RetrievalSettings()
        self._store = MemoryStore(dim, chosen, analyzer or shared_analyzer(), max_gap)

    def __len__(self) -> int:
        return len(self._store.frame)

    def __contains__(self, id: object) -> bool:
        return id in self._store.frame.slot_of

    @property
    def store(self) -> MemoryStore:
        """What the index holds, for those who organise it and change nothing."""
        return self._store

    @property
    def unembedded(self) -> int:
        """Memories that only the lexical signals can see so far."""
        return self._store.unembedded

    def unembedded_among(self, visible: Predicate) -> int:
        """How many of the visible memories only the lexical signals can see so far."""
        if not self._store.unembedded:
            return 0
        return self._store.unembedded_among(self._store.frame.mask(visible))

    @property
    def memory_bytes(self) -> int:
        """RAM held, estimated from the sizes of the parts."""
        return self._store.memory_bytes()

    def upsert(self, memories: Sequence[IndexedMemory]) -> None:
        """Enters memories, or replaces those with the same ids. Cheapest in bulk."""
        self._store.upsert(memories)

    def remove(self, ids: Iterable[str]) -> None:
        """Forgets memories; unknown ids are ignored."""
        self._store.remove(ids)

    def attach_vectors(self, id: str, vectors: VectorSet) -> None:
        """Hands over the vectors of a memory; stale ones are ignored, and so is an unknown id.

        Raises:
            DimensionMismatchError: they are of another embedding space.
        """
        self._store.attach(id, vectors)

    def stale_views(self, limit: int = 64) -> list[ViewPlan]:
        """Memories that lack a vector, each with all the texts to embed for it."""
        return self._store.stale_views(limit)

    def search(
        self, query: RetrievalQuery, statistics: CorpusStatistics | None = None
    ) -> list[Scored]:
        """Returns the best memories, best first; equal scores are ordered by id.

        Returns `k` memories whenever the predicate admits `offset + k`. Without any evidence (no
        word of content and no vector) they are the newest.

        Args:
            statistics: how common words are, when this index holds only a sample.

        Raises:
            DimensionMismatchError: the query vector is of another embedding space.
        """
        return fusion.rank(Scope(self._store, query, statistics))

    def alike(self, id: str, most: int) -> list[str]:
        """Ids of memories in nearly the words of one, the newest first; not judged by policy."""
        return related.alike(self._store, id, most)

    def worded(
        self,
        alternatives: Sequence[Sequence[str]],
        most: int,
        among: Container[str] | None = None,
    ) -> list[str]:
        """Ids of memories with all words of one of the alternatives, the newest first; as above.

        Args:
            among: ids of those that count; all when absent.
        """
        return related.worded(self._store, alternatives, most, among)

    def beside(self, ids: Iterable[str], reach: int) -> dict[str, list[tuple[str, int]]]:
        """Who was said up to `reach` places before (negative) or behind memories; as above."""
        return saying.beside(self._store, ids, reach)

    def statistics(self) -> CorpusStatistics:
        """How common words are here, to rank candidates after this index has been evicted."""
        frequencies = self._store.postings.frequencies()
        size = len(self)
        return CorpusStatistics(size, float(self._store.lengths.sum()) / max(size, 1), frequencies)


def rank_candidates(
    query: RetrievalQuery,
    memories: Sequence[IndexedMemory],
    vector_sets: Mapping[str, VectorSet],
    settings: RetrievalSettings | None = None,
    *,
    statistics: CorpusStatistics | None = None,
    neighbours: Sequence[IndexedMemory] = (),
) -> list[Scored]:
    """Ranks memories that another store has found, by the signals of a resident index.

    Contexts join only memories at successive positions, since what lies between two candidates is
    not known. Vectors are taken as they come: a context view cannot be checked without its
    predecessor.

    Args:
        vector_sets: by id; a memory without one is found by its words.
        statistics: how common words are in the whole namespace; taken over the candidates when
            absent.
        neighbours: further memories, to complete contexts; they are not ranked.

    Raises:
        DimensionMismatchError: the vectors and the query are not of one embedding space.
    """
    chosen = settings or RetrievalSettings()
    store = MemoryStore(_dim(query, vector_sets), chosen, shared_analyzer(), max_gap=1)
    ids = {memory.id for memory in memories}
    store.upsert([*(one for one in neighbours if one.id not in ids), *memories])
    for id in ids & vector_sets.keys():
        store.attach(id, vector_sets[id], trust_context=True)
    narrowed = replace(
        query,
        predicate=all_of(query.predicate, OneOf("id", tuple(sorted(ids)))),
        visible=query.predicate if query.visible is None else query.visible,
    )
    return fusion.rank(Scope(store, narrowed, statistics))


def _dim(query: RetrievalQuery, vector_sets: Mapping[str, VectorSet]) -> int:
    if query.vector is not None:
        return len(query.vector)
    return next((vectors.dim for vectors in vector_sets.values()), 1)
