"""Participants of a namespace by name, and which of them a query names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memos_ray.core.retrieval.languages import stop_words
from memos_ray.core.retrieval.text import fold, is_unspaced, split_words


@dataclass(frozen=True, slots=True)
class Naming:
    """What a query names.

    Attributes:
        speakers: participants, as they are written in the memories.
        words: folded words of the query, without the names.
        left_out: folded words of the names.
    """

    speakers: tuple[str, ...]
    words: tuple[str, ...]
    left_out: frozenset[str] = frozenset()


class Names:
    """Speakers in use.

    Complexity: `find` is linear in the words of the query, plus the number of participants whose
    names are written without spaces.
    """

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}
        self._words: dict[str, tuple[str, ...]] = {}
        self._by_word: dict[str, set[str]] = {}
        self._unspaced: dict[str, str] = {}

    def add(self, name: str) -> None:
        """Counts a use of a name."""
        self._uses[name] = self._uses.get(name, 0) + 1
        if self._uses[name] > 1:
            return
        words = tuple(word for word in split_words(fold(name)) if _tells(word))
        self._words[name] = words
        if any(map(is_unspaced, words)):
            self._unspaced[name] = fold(name)
            return
        for word in words:
            self._by_word.setdefault(word, set()).add(name)

    def drop(self, name: str) -> None:
        """Takes a use back."""
        left = self._uses[name] - 1
        if left:
            self._uses[name] = left
            return
        del self._uses[name]
        self._unspaced.pop(name, None)
        for word in self._words.pop(name):
            holders = self._by_word.get(word)
            if holders is not None:
                holders.discard(name)
                if not holders:
                    del self._by_word[word]

    def find(self, text: str, given: Sequence[str] | None = None) -> Naming:
        """Finds participants in a query.

        Args:
            given: names that somebody has already read out of the query; only participants among
                them count, because the name of anybody else is content.
        """
        folded = fold(text)
        named: set[str] = set()
        wanted = folded if given is None else fold(" \n".join(given))
        left_out: set[str] = set()
        for name, written in self._unspaced.items():
            if written and written in wanted:
                named.add(name)
                left_out.update(split_words(written))
                folded = folded.replace(written, " ")
        words = split_words(folded)
        present = set(words if given is None else split_words(wanted))
        for word in present & self._by_word.keys():
            if given is None and not _is_name(word, text):
                continue
            holders = self._by_word[word]
            whole = {name for name in holders if present.issuperset(self._words[name])}
            named |= whole or holders
            left_out.add(word)
        kept = tuple(word for word in words if word not in left_out)
        return Naming(tuple(sorted(named)), kept, frozenset(left_out))

    def memory_bytes(self) -> int:
        """Estimated size."""
        return 600 * len(self._uses)


def _tells(word: str) -> bool:
    return len(word) > 1 and not word.isdecimal()


def _is_name(word: str, text: str) -> bool:
    """Tells the name Will from the word will: by its capital, not at the start of the text."""
    if word not in stop_words("en"):
        return True
    return re.search(rf"(?<=\s){re.escape(word.capitalize())}\b", text) is not None


def strip_names(text: str, names: Iterable[str]) -> str:
    """Takes names (and their possessive endings) out of a text, to embed what is left.

    Returns the text unchanged when nothing else would be left.
    """
    parts = {part for name in names for part in (name, *name.split()) if _tells(fold(part))}
    if not parts:
        return text
    written = "|".join(
        re.escape(part) if is_unspaced(part) else rf"(?<!\w){re.escape(part)}(?:['\u2019]s)?(?!\w)"
        for part in sorted(parts, key=len, reverse=True)
    )
    left = " ".join(re.sub(written, " ", text, flags=re.IGNORECASE).split())
    return left if any(map(str.isalnum, left)) else text


def without_each(text: str, names: Iterable[str]) -> dict[str, str]:
    """Maps each of some names to the text without it, where that makes a difference."""
    found: dict[str, str] = {}
    for name in names:
        left = strip_names(text, (name,))
        if left != text:
            found[name] = left
    return found
