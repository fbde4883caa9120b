"""Which section of an edition stands in the place of which one of an older edition. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from memos_ray.core.retrieval.text import fold, shared_analyzer

_HEADING, _WORDS = 0.4, 0.6
_LEAST = 0.35
_NUMBERING = re.compile(r"^\s*(?:\d+(?:\.\d+)*\.?|[ivxlc]+\.|[a-z]\))\s+")
_MOST_RIVALS = 12


@dataclass(frozen=True)
class Section:
    """A piece of an edition.

    Attributes:
        trail: the headings above it and its own, outermost first.
    """

    id: str
    trail: tuple[str, ...]
    text: str

    @cached_property
    def headings(self) -> tuple[str, ...]:
        """The headings, folded and without their numbers."""
        return tuple(_NUMBERING.sub("", fold(title)).strip() for title in self.trail)

    @cached_property
    def terms(self) -> Counter[str]:
        """The terms of its text."""
        return Counter(shared_analyzer().analyse(self.text).terms)


def align(older: Sequence[Section], newer: Sequence[Section]) -> dict[str, str | None]:
    """Returns, for each section of the older edition, the id of the one in its place, or none.

    Each section is used once; the best pairs are made first, of equals those in order.

    Complexity: each section is compared with the few that share its rarer terms or its heading.
    """
    pairs = []
    rivals = _Rivals(newer)
    for place, old in enumerate(older):
        for other in rivals.of(old):
            score = _score(old, newer[other])
            if score >= _LEAST:
                pairs.append((-score, abs(place - other), place, other))
    found: dict[str, str | None] = {old.id: None for old in older}
    taken: set[int] = set()
    for _, _, place, other in sorted(pairs):
        if found[older[place].id] is None and other not in taken:
            found[older[place].id] = newer[other].id
            taken.add(other)
    return found


class _Rivals:
    """The sections of the newer edition, by terms and headings."""

    def __init__(self, newer: Sequence[Section]) -> None:
        self._by_term: defaultdict[str, list[int]] = defaultdict(list)
        self._by_heading: defaultdict[str, list[int]] = defaultdict(list)
        for place, section in enumerate(newer):
            for term in section.terms:
                self._by_term[term].append(place)
            if section.headings:
                self._by_heading[section.headings[-1]].append(place)

    def of(self, old: Section) -> list[int]:
        """Those that may stand in the place of a section."""
        weights: Counter[int] = Counter()
        for term in old.terms:
            places = self._by_term.get(term, ())
            for place in places:
                weights[place] += 1 / len(places)  # type: ignore[assignment]
        found = [place for place, _ in weights.most_common(_MOST_RIVALS)]
        if old.headings:
            found += self._by_heading.get(old.headings[-1], ())[:_MOST_RIVALS]
        return list(dict.fromkeys(found))


def _score(old: Section, new: Section) -> float:
    shared, all_terms = (old.terms & new.terms).total(), (old.terms | new.terms).total()
    words = shared / max(1, all_terms)
    if not old.headings and not new.headings:
        return words
    return _HEADING * _heading(old.headings, new.headings) + _WORDS * words


def _heading(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """How alike two trails are; the title of the whole document says little."""
    if not one or not other:
        return 0.0
    last = _jaccard(set(one[-1].split()), set(other[-1].split()))
    above = _jaccard(set(one[1:-1]), set(other[1:-1])) if one[1:-1] or other[1:-1] else last
    return 0.75 * last + 0.25 * above


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, len(one | other))
