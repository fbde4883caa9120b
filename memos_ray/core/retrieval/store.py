"""Everything that a resident index holds, kept consistent under upserts and removals."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from memos_ray.core.cube.facets import to_micros
from memos_ray.core.retrieval import cues
from memos_ray.core.retrieval.columns import CodeColumn, Mask
from memos_ray.core.retrieval.frame import AttributeFrame
from memos_ray.core.retrieval.names import Names
from memos_ray.core.retrieval.neighbours import NONE, Neighbours
from memos_ray.core.retrieval.postings import Postings
from memos_ray.core.retrieval.proper import ToldNames, names_in
from memos_ray.core.retrieval.query import IndexedMemory
from memos_ray.core.retrieval.settings import RetrievalSettings
from memos_ray.core.retrieval.tags import Tags
from memos_ray.core.retrieval.text import Analyzer, count_words
from memos_ray.core.retrieval.vectors import ExtraVectors, SlotVectors
from memos_ray.core.retrieval.views import (
    VectorSet,
    View,
    ViewKind,
    ViewPlan,
    plan_context,
    plan_own,
    plan_views,
)
from memos_ray.errors import DimensionMismatchError

_FIRST_SLOTS = 64


class MemoryStore:
    """Slots of memories: facets, postings, neighbours, cues, vectors.

    Invariants, between calls:
        - every structure knows exactly the memories of the last `upsert` of each id;
        - a vector is held only while its view is in the plan of its memory: a changed text, or a
          changed or removed predecessor, drops what was computed from it at once;
        - `stale` holds exactly the slots that lack a planned vector.
    """

    def __init__(
        self,
        dim: int,
        settings: RetrievalSettings,
        analyzer: Analyzer,
        max_gap: int | None = None,
    ) -> None:
        self.dim = dim
        self.settings = settings
        self.analyzer = analyzer
        self.frame = AttributeFrame()
        self.postings = Postings()
        self.neighbours = Neighbours(settings.context_reach, settings.context_words, max_gap)
        self.names = Names()
        self.tags = Tags(analyzer)
        self.told = ToldNames()
        self.own = SlotVectors(dim, 0)
        self.extra = ExtraVectors(dim)
        self.context = SlotVectors(dim, 0)
        self.languages = CodeColumn(0)
        self.lengths: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.context_lengths: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.tells_time: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self.asks: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self.mentions: dict[int, tuple[tuple[int, int], ...]] = {}
        self.texts: list[str] = []
        self.stale: dict[int, None] = {}
        self._text_bytes = 0
        self._planned = 0
        self._own_wanted = array("Q")
        self._own_held = array("Q")
        self._context_wanted = array("Q")
        self._context_held = array("Q")
        self._chunks = array("H")

    def upsert(self, memories: Sequence[IndexedMemory]) -> None:
        """Enters or replaces memories."""
        frame = self.frame
        if frame.high + len(memories) > frame.capacity:
            new = sum(memory.id not in frame.slot_of for memory in memories)
            self._reserve(new)
        for memory in memories:
            self._put(memory)
        self._settle()

    def remove(self, ids: Iterable[str]) -> None:
        """Forgets memories; unknown ids are none."""
        for id in ids:
            slot = self.frame.slot_of.get(id)
            if slot is None:
                continue
            self._name(slot, None)
            self._tag(slot, ())
            self.frame.remove(id)
            self.postings.drop(slot)
            self.told.put(slot, ())
            self.neighbours.remove(slot)
            self.languages.put(slot, None)
            self.lengths[slot] = 0
            self.mentions.pop(slot, None)
            self._text_bytes -= _size(self.texts[slot])
            self.texts[slot] = ""
            self._plan_own(slot, ())
        self._settle()

    def attach(self, id: str, vectors: VectorSet, trust_context: bool = False) -> None:
        """Takes those vectors whose views are in the plan of the memory.

        Args:
            trust_context: takes the context view unseen, where the predecessor is not at hand.

        Raises:
            DimensionMismatchError: the vectors are of another embedding space.
        """
        if vectors.dim != self.dim:
            raise DimensionMismatchError(
                "vectors of another embedding space", expected=self.dim, found=vectors.dim
            )
        slot = self.frame.slot_of.get(id)
        if slot is None:
            return
        own = np.flatnonzero(vectors.kinds == ViewKind.OWN)
        if len(own) and _key(vectors.digests[own].tolist()) == self._own_wanted[slot]:
            self.own.put(slot, float(vectors.scales[own[0]]), vectors.data[own[0]])
            self.extra.put(slot, vectors.scales[own[1:]], vectors.data[own[1:]])
            self._own_held[slot] = self._own_wanted[slot]
        for at in np.flatnonzero(vectors.kinds == ViewKind.CONTEXT):
            if trust_context or int(vectors.digests[at]) == self._context_wanted[slot]:
                self.context.put(slot, float(vectors.scales[at]), vectors.data[at])
                self._context_held[slot] = self._context_wanted[slot]
        self._mark(slot)

    def stale_views(self, limit: int) -> list[ViewPlan]:
        """Plans of memories that lack a vector, oldest need first."""
        plans: list[ViewPlan] = []
        for slot in self.stale:
            if len(plans) >= limit:
                break
            text, before = self.texts[slot], self._predecessor(slot)
            views = plan_views(text, before, self.settings.views)
            plans.append(ViewPlan(self.frame.ids[slot], views))
        return plans

    @property
    def unembedded(self) -> int:
        """Memories with a text but no vector of it."""
        return self._planned - self.own.count

    def unembedded_among(self, shown: Mask) -> int:
        """As `unembedded`, of the slots that a mask shows."""
        return sum(bool(shown[slot] and not self.own.held[slot]) for slot in self.stale)

    def own_keys(self) -> npt.NDArray[np.uint64]:
        """What the own vectors were computed from, by slot; 0 where none is held. A copy."""
        return np.array(self._own_held, np.uint64)

    def text_keys(self) -> npt.NDArray[np.uint64]:
        """What the own vectors are to be computed from, by slot; 0 where no text is. A copy."""
        return np.array(self._own_wanted, np.uint64)

    def language_of(self, slot: int) -> str:
        """The language that a text was analysed in."""
        return str(self.languages.value(int(self.languages.codes[slot])) or "en")

    def memory_bytes(self) -> int:
        """Estimated size of everything held."""
        arrays = self.lengths.nbytes + self.context_lengths.nbytes
        arrays += self.tells_time.nbytes + self.asks.nbytes + 42 * len(self._chunks)
        parts = (
            self.frame,
            self.postings,
            self.neighbours,
            self.names,
            self.tags,
            self.told,
            self.own,
            self.extra,
            self.context,
            self.languages,
        )
        held = sum(part.memory_bytes() for part in parts)
        return held + arrays + self._text_bytes + 200 * len(self.mentions) + 100 * len(self.stale)

    def _reserve(self, new: int) -> None:
        """Makes room for `new` more memories, with some to spare."""
        old = self.frame.capacity
        needed = self.frame.high + new
        if needed <= old:
            return
        capacity = max(needed, old + old // 8, _FIRST_SLOTS)
        for part in (
            self.frame,
            self.neighbours,
            self.told,
            self.own,
            self.context,
            self.languages,
        ):
            part.grow(capacity)
        more = capacity - old
        self.lengths = np.concatenate((self.lengths, np.zeros(more, np.int32)))
        self.context_lengths = np.concatenate((self.context_lengths, np.zeros(more, np.int32)))
        self.tells_time = np.concatenate((self.tells_time, np.zeros(more, np.float32)))
        self.asks = np.concatenate((self.asks, np.zeros(more, np.float32)))
        self.texts.extend([""] * more)
        for keys in (
            self._own_wanted,
            self._own_held,
            self._context_wanted,
            self._context_held,
            self._chunks,
        ):
            keys.extend([0] * more)

    def _put(self, memory: IndexedMemory) -> None:
        facets = memory.facets
        slot = self.frame.slot_of.get(memory.id)
        known = slot is not None
        if slot is not None:
            self._name(slot, facets.get("speaker"))
            self._tag(slot, facets.get("tags"))
            self.frame.put(memory)
        else:
            slot = self.frame.put(memory)
            speaker, tags = facets.get("speaker"), facets.get("tags")
            if isinstance(speaker, str):
                self.names.add(speaker)
            if isinstance(tags, tuple):
                self.tags.replace((), tags)
        if not known or memory.text != self.texts[slot] or memory.language:
            self._put_text(slot, memory)
        spans = tuple((to_micros(span.start), to_micros(span.end)) for span in memory.mentions)
        if spans:
            self.mentions[slot] = spans
        elif known:
            self.mentions.pop(slot, None)
        position = facets.get("position")
        self.neighbours.put(
            slot,
            memory.id,
            count_words(memory.text),
            self._session(memory),
            position if type(position) is int else None,
        )

    def _put_text(self, slot: int, memory: IndexedMemory) -> None:
        analysis = self.analyzer.analyse(memory.text, memory.language)
        self.postings.drop(slot)
        self.postings.add(slot, analysis.terms)
        self.told.put(slot, names_in(memory.text, analysis.language))
        self.lengths[slot] = analysis.length
        self.languages.put(slot, analysis.language)
        self.tells_time[slot] = cues.tells_time(analysis.words, memory.text)
        self.asks[slot] = cues.question_share(memory.text, count_words(memory.text))
        self._text_bytes += _size(memory.text) - _size(self.texts[slot])
        self.texts[slot] = memory.text
        self._plan_own(slot, plan_own(memory.text, self.settings.views))

    def _session(self, memory: IndexedMemory) -> Hashable | None:
        facets = memory.facets
        if "conversation" not in facets:
            return None
        audience = tuple(facets.get(name) for name in self.settings.audience)
        return (facets["conversation"], facets.get("session"), audience)

    def _name(self, slot: int, speaker: object) -> None:
        """Follows a change of the speaker in an occupied slot."""
        column = self.frame.coded("speaker")
        before = column.value(int(column.codes[slot])) if column is not None else None
        if before == speaker:
            return
        if isinstance(before, str):
            self.names.drop(before)
        if isinstance(speaker, str):
            self.names.add(speaker)

    def _tag(self, slot: int, tags: object) -> None:
        """Follows a change of the tags in an occupied slot."""
        column = self.frame.coded("tags")
        before = column.value(int(column.codes[slot])) if column is not None else None
        self.tags.replace(
            before if isinstance(before, tuple) else (), tags if isinstance(tags, tuple) else ()
        )

    def _plan_own(self, slot: int, views: Sequence[View]) -> None:
        wanted = _key([view.digest for view in views])
        self._chunks[slot] = len(views)
        self._planned += bool(wanted) - bool(self._own_wanted[slot])
        self._own_wanted[slot] = wanted
        if self._own_held[slot] != wanted:
            self._own_held[slot] = 0
            self.own.drop(slot)
            self.extra.drop(slot)

    def _settle(self) -> None:
        """Brings contexts, their lengths and their plans up to date."""
        changed = self.neighbours.flush()
        if not changed:
            return
        slots = np.array(changed, np.int64)
        included = self.neighbours.included[slots]
        lengths = np.where(included == NONE, 0, self.lengths[included])
        self.context_lengths[slots] = lengths.sum(axis=1)
        for slot in changed:
            views = plan_context(
                self.texts[slot],
                self._predecessor(slot),
                self._chunks[slot],
                self.settings.views,
            )
            wanted = views[0].digest if views else 0
            self._context_wanted[slot] = wanted
            if self._context_held[slot] != wanted:
                self._context_held[slot] = 0
                self.context.drop(slot)
            self._mark(slot)

    def _mark(self, slot: int) -> None:
        fresh = (
            self._own_held[slot] == self._own_wanted[slot]
            and self._context_held[slot] == self._context_wanted[slot]
        )
        if fresh:
            self.stale.pop(slot, None)
        else:
            self.stale[slot] = None

    def _predecessor(self, slot: int) -> str | None:
        before = int(self.neighbours.previous[slot])
        return None if before == NONE else self.texts[before]


def _key(digests: Sequence[int]) -> int:
    """One number for a list of view digests; 0 for none."""
    if len(digests) < 2:
        return digests[0] if digests else 0
    state = blake2b(digest_size=8)
    for digest in digests:
        state.update(digest.to_bytes(8, "little"))
    return int.from_bytes(state.digest(), "little")


def _size(text: str) -> int:
    """RAM of a text, as CPython holds it, roughly."""
    return len(text) + 56 if text.isascii() else 2 * len(text) + 76
