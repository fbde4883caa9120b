"""Memories that may belong together, found by words: cheap candidates for a closer look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.store import MemoryStore
from memos_ray.core.retrieval.text import fold, split_words

_RAREST = 4
_SHARED = 3
_COMMON = 300
_NEVER = int(np.iinfo(np.int64).min)


def alike(store: MemoryStore, id: str, most: int) -> list[str]:
    """Memories that share three of a memory's four rarest words, or all where there are fewer."""
    slot = store.frame.slot_of.get(id)
    if slot is None:
        return []
    terms = store.postings.rarer(slot, _COMMON)
    found = store.postings.find(terms)
    counts = np.bincount(found.terms, minlength=len(terms))
    rarest = np.argsort(counts, kind="stable")[:_RAREST]
    held = found.slots[np.isin(found.terms, rarest)]
    shared = np.bincount(held, minlength=store.frame.high)
    shared[slot] = 0
    wanted = max(1, min(_SHARED, len(rarest)))
    return _newest(store, np.flatnonzero(shared >= wanted), most)


def worded(store: MemoryStore, alternatives: Sequence[Sequence[str]], most: int) -> list[str]:
    """Memories that have all words of one of some alternatives, the newest first."""
    spoken = sorted(map(str, store.languages.counts(None)))
    met = np.zeros(store.frame.high, np.bool_)
    for words in alternatives:
        parts = [part for word in words for part in split_words(fold(word))]
        terms = list(store.analyzer.query_terms(parts, spoken))
        # A word has a term in each language; any of them will do.
        groups = [set(store.analyzer.query_terms([part], spoken)) for part in dict.fromkeys(parts)]
        groups = [group for group in groups if group]
        if not groups:
            continue
        found = store.postings.find(terms)
        every = np.ones(store.frame.high, np.bool_)
        for group in groups:
            wanted = [place for place, term in enumerate(terms) if term in group]
            has = np.zeros(store.frame.high, np.bool_)
            has[found.slots[np.isin(found.terms, wanted)]] = True
            every &= has
        met |= every
    return _newest(store, np.flatnonzero(met), most)


def _newest(store: MemoryStore, slots: npt.NDArray[np.int64], most: int) -> list[str]:
    times = store.frame.times(slots, ("valid_from", "event_time", "created_at"), _NEVER)
    ids = [store.frame.ids[slot] for slot in slots.tolist()]
    order = sorted(zip((-times).tolist(), ids, strict=True))
    return [id for _, id in order[:most]]
