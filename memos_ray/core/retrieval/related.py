"""Memories that may belong together, found by words: cheap candidates for a closer look."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.columns import Mask
from memos_ray.core.retrieval.store import MemoryStore
from memos_ray.core.retrieval.text import fold, split_words

_RAREST = 4
_SHARED = 3
_COMMON = 300
_COMMON_SHARE = 0.05
_TOLD = 4
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


def worded(
    store: MemoryStore,
    alternatives: Sequence[Sequence[str]],
    most: int,
    among: Container[str] | None = None,
) -> list[str]:
    """Memories that have all words of one of some alternatives, the newest first.

    Args:
        among: ids of those that count; all when absent.
    """
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
    slots = np.flatnonzero(met)
    if among is not None:
        ids = store.frame.ids
        slots = np.array([slot for slot in slots.tolist() if ids[slot] in among], np.int64)
    return _newest(store, slots, most)


@dataclass(frozen=True, slots=True)
class Sharing:
    """A memory that has uncommon words, or names, in common with another one.

    Attributes:
        words: the rarest first.
        weight: the more and the rarer they are, the more.
    """

    id: str
    words: tuple[str, ...]
    weight: float


def sharing(store: MemoryStore, id: str, visible: Mask, most: int) -> list[Sharing]:
    """Visible memories that share uncommon words with one, those that share most first.

    How common a word is is counted over the visible memories, as in a search.
    """
    slot = store.frame.slot_of.get(id)
    if slot is None:
        return []
    size = int(np.count_nonzero(visible))
    common = min(max(2, int(_COMMON_SHARE * size)), _COMMON)
    terms = store.postings.rarer(slot, common + len(store.frame) - size)
    found = store.postings.find(terms)
    kept = visible[found.slots]
    which, slots = found.terms[kept], found.slots[kept]
    held = np.bincount(which, minlength=len(terms))
    pulls = np.where(held <= common, np.log1p((size - held + 0.5) / (held + 0.5)), 0.0)
    weights = np.bincount(slots, pulls[which], minlength=store.frame.high)
    weights[slot] = 0.0
    near = np.flatnonzero(weights)
    order = sorted((-round(float(weights[at]), 9), store.frame.ids[at], at) for at in near.tolist())
    best = []
    for weight, other, at in order[:most]:
        shared = which[(slots == at) & (pulls[which] > 0)].tolist()
        words = sorted(shared, key=lambda place: (-pulls[place], terms[place]))
        best.append(Sharing(other, tuple(terms[place] for place in words[:_TOLD]), -weight))
    return best


def beside(store: MemoryStore, id: str) -> tuple[str | None, str | None]:
    """The memories before and after one in its session; not judged by policy."""
    slot = store.frame.slot_of.get(id)
    if slot is None:
        return None, None
    before = int(store.neighbours.previous[slot])
    after = np.flatnonzero(store.neighbours.previous[: store.frame.high] == slot)
    return (
        store.frame.ids[before] if before >= 0 else None,
        store.frame.ids[int(after[0])] if len(after) else None,
    )


def in_time(
    store: MemoryStore, id: str, visible: Mask, most: int
) -> tuple[list[Sharing], list[Sharing]]:
    """Visible memories that tell the same names, before and after one, the nearest first.

    Their moment is that of the event, else of storing; `weight` is the distance in seconds.
    """
    slot = store.frame.slot_of.get(id)
    if slot is None:
        return [], []
    told: dict[int, list[str]] = {}
    for name in store.told.of(slot):
        for other in store.told.tellers(name):
            if other != slot and visible[other]:
                told.setdefault(other, []).append(name)
    slots = np.array([slot, *told], np.int64)
    times = store.frame.times(slots, ("event_time", "created_at"), _NEVER).tolist()
    near = sorted(
        (abs(at - times[0]), store.frame.ids[other], at - times[0], names)
        for (other, names), at in zip(told.items(), times[1:], strict=True)
    )
    before, after = (
        [
            Sharing(other, tuple(names), distance / 1e6)
            for distance, other, signed, names in near
            if signed and (signed < 0) == earlier
        ][:most]
        for earlier in (True, False)
    )
    return before, after


def _newest(store: MemoryStore, slots: npt.NDArray[np.int64], most: int) -> list[str]:
    times = store.frame.times(slots, ("valid_from", "event_time", "created_at"), _NEVER)
    ids = [store.frame.ids[slot] for slot in slots.tolist()]
    order = sorted(zip((-times).tolist(), ids, strict=True))
    return [id for _, id in order[:most]]
