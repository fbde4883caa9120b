"""Names that memories tell, and queries that ask for one.

English and its likes write names with a capital, also within a sentence; Chinese and Japanese put
titles in brackets. German writes every noun with a capital, so there nothing can be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from heapq import nsmallest

import numpy as np
import numpy.typing as npt

from memos_ray.core.retrieval.text import fold, split_words

Mask = npt.NDArray[np.bool_]
_CAPITAL = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}")
_TITLE = re.compile(r"[\u300a\u300c\u300e]([^\u300b\u300d\u300f\n]{1,60})[\u300b\u300d\u300f]")
_DATES = frozenset(
    """january february march april may june july august september october november december
    monday tuesday wednesday thursday friday saturday sunday""".split()
)
_EVERY_NOUN = frozenset(("de", "lb"))
_MOST = 64
_ASKS = re.compile(
    r"^\W*(?:(?:and|so|but)\s+)?(?:(?:in|at|from|to|with|for|by)\s+)?(?:where|who|whom|whose)\b"
    r"|\b(?:what|which)\s+(?:\w+\s+){0,2}(?:city|cities|towns?|country|countries|states?|places?|"
    r"books?|movies?|films?|shows?|songs?|bands?|artists?|authors?|games?|company|companies|"
    r"brands?|restaurants?|schools?|university)\b"
    r"|\b(?:names?|named|called|title)\b",
    re.IGNORECASE,
)
_CJK_ASKS = re.compile(
    r"什么(?:书|電影|电影|歌|節目|节目|名字)|哪[一]?[本部首](?:书|電影|电影|歌)?|叫什么|书名|片名"
)


def asks_name(text: str) -> bool:
    """Whether a query wants a name for an answer."""
    return _ASKS.search(text) is not None or (
        not text.isascii() and _CJK_ASKS.search(text) is not None
    )


def names_in(text: str, language: str) -> tuple[str, ...]:
    """Distinct names within the sentences of a text, folded, at most a few dozen."""
    found: dict[str, None] = {}
    if language not in _EVERY_NOUN:
        found.update(dict.fromkeys(map(fold, _CAPITAL.findall(text))))
    if not text.isascii():
        found.update(dict.fromkeys(map(fold, _TITLE.findall(text))))
    return tuple(name for name in found if name not in _DATES)[:_MOST]


class ToldNames:
    """Which memories tell which names.

    Invariants: `counts[slot]` is the number of names in `_names[slot]`; `_slots[name]` holds
    exactly the slots whose names it is among.
    """

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int16] = np.zeros(0, np.int16)
        self._names: dict[int, tuple[str, ...]] = {}
        self._slots: dict[str, set[int]] = {}

    def grow(self, capacity: int) -> None:
        """Makes room for slots below `capacity`."""
        self.counts = np.concatenate((self.counts, np.zeros(capacity - len(self.counts), np.int16)))

    def put(self, slot: int, names: tuple[str, ...]) -> None:
        """Replaces the names of a memory."""
        for name in self._names.pop(slot, ()):
            holders = self._slots[name]
            holders.discard(slot)
            if not holders:
                del self._slots[name]
        self.counts[slot] = len(names)
        if names:
            self._names[slot] = names
            for name in names:
                self._slots.setdefault(name, set()).add(slot)

    def telling(self, high: int, participants: frozenset[str]) -> Mask:
        """Slots below `high` that tell a name other than those of participants."""
        counts = self.counts[:high].copy()
        for name in participants & self._slots.keys():
            counts[list(self._slots[name])] -= 1
        telling: Mask = counts > 0
        return telling

    def of(self, slot: int) -> tuple[str, ...]:
        """The names that a memory tells."""
        return self._names.get(slot, ())

    def tellers(self, name: str) -> frozenset[int]:
        """Slots of the memories that tell a name."""
        return frozenset(self._slots.get(name, ()))

    def counted(self, visible: Mask, most: int) -> list[tuple[str, int]]:
        """The names that most visible memories tell, with how many do; visible by slot."""
        shown = visible.tobytes()
        counts = ((sum(map(shown.__getitem__, held)), name) for name, held in self._slots.items())
        best = nsmallest(most, ((-count, name) for count, name in counts if count))
        return [(name, -count) for count, name in best]

    def memory_bytes(self) -> int:
        """Estimated size."""
        held = sum(map(len, self._names.values()))
        return self.counts.nbytes + 120 * len(self._names) + 80 * held + 300 * len(self._slots)


def words_of(names: Iterable[str]) -> frozenset[str]:
    """The folded words of names."""
    return frozenset(word for name in names for word in split_words(fold(name)))
