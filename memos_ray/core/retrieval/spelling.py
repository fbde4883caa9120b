"""Slips of the pen: words of a query that nothing holds, and what they were meant to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_SHORTEST = 4
_SURE = 2


class Vocabulary:
    """Distinct terms by their first two letters, in which slips are rare (Yannakoudakis 1983).

    Complexity: `near` is linear in the terms that begin alike.
    """

    def __init__(self, terms: Iterable[str] = ()) -> None:
        self._alike: dict[str, list[str]] = {}
        for term in terms:
            self.add(term)

    def add(self, term: str) -> None:
        """Adds a term that is new."""
        if len(term) >= _SHORTEST - 1 and term.isalpha():
            self._alike.setdefault(term[:_SURE], []).append(term)

    def near(self, term: str) -> Iterator[str]:
        """Terms one slip away; none for short words and for data, where each character counts."""
        if len(term) >= _SHORTEST and term.isalpha():
            least, most = len(term) - 1, len(term) + 1
            for other in self._alike.get(term[:_SURE], ()):
                if least <= len(other) <= most and is_slip(term, other):
                    yield other


def is_slip(one: str, other: str) -> bool:
    """Whether two different words are one insertion, deletion, change or swap of letters apart."""
    if abs(len(one) - len(other)) > 1:
        return False
    start, least = 0, min(len(one), len(other))
    while start < least and one[start] == other[start]:
        start += 1
    end = 0
    while end < least - start and one[-1 - end] == other[-1 - end]:
        end += 1
    left, right = one[start : len(one) - end], other[start : len(other) - end]
    if len(left) + len(right) == 1 or (len(left), len(right)) == (1, 1):
        return True
    return len(left) == 2 and left == right[::-1]
