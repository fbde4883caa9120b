"""Labels of groups of texts: the words that set one apart from the others.

Words are weighed by class-based TF-IDF (Grootendorst, 2022): how many texts of a group have a word,
times the logarithm of how rare it is among all groups. Words that are inflections of one another
count as one, in the commonest spelling. Scripts without spaces give runs of two to four characters,
of which a longer one stands for those within it (Frantzi, Ananiadou & Mima, 2000).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import log

import stopwordsiso

from memos_ray.core.retrieval import languages
from memos_ray.core.retrieval.text import Analyzer, fold, is_unspaced

WORDS = 3
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_LEAST_LETTERS, _MOST_LETTERS = 3, 40
_MOST_CHARACTERS = 2000
_LONGEST_RUN = 4
_LONGER = 0.3
_STANDS_FOR = 0.7
_SMALL_TALK = frozenset(
    """
    yeah yes hey hi hello thanks thank okay ok wow great good nice really definitely sure lot lots
    got get getting going gonna went come came know think thought feel like love want need make
    made take took thing things way day time today yesterday tomorrow week month year glad happy
    hear sounds awesome cool amazing well back new see look bit always ever hope keep
    ja nein danke hallo gut schön heute gestern morgen mal ganz wirklich immer
    """.split()
)
_NOUNS_HAVE_CAPITALS = frozenset(("de", "lb"))
_EMPTY = frozenset("的了吗呢吧啊着我你她它们是在有和就都也很这那不没个说要会能去来到上下")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text of a group, with the id of its memory."""

    id: str
    text: str
    language: str


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The words of a group of texts: in how many of them each is, and how it is spelt."""

    counts: Counter[str]
    texts: int
    spelt: dict[str, Counter[str]]


def together(groups: Sequence[Words]) -> Words:
    """The words of several groups as those of one."""
    counts: Counter[str] = Counter()
    spelt: dict[str, Counter[str]] = {}
    for group in groups:
        counts.update(group.counts)
        for term, spellings in group.spelt.items():
            spelt.setdefault(term, Counter()).update(spellings)
    return Words(counts, sum(group.texts for group in groups), spelt)


def best(groups: Sequence[Words]) -> list[tuple[str, ...]]:
    """The most telling words of each group, at most three, the best first.

    They come from the texts of the group and from no other; other groups only weigh them.
    """
    everywhere: Counter[str] = Counter()
    for group in groups:
        everywhere.update(group.counts)
    mean = sum(everywhere.values()) / max(1, len(groups))
    return [_best(group, everywhere, mean) for group in groups]


class Labeller:
    """Reads and labels groups. One thread at a time."""

    def __init__(self) -> None:
        self._analyzer = Analyzer()

    def label(self, groups: Sequence[Sequence[Sample]]) -> list[tuple[str, ...]]:
        """The most telling words of each group, at most three, the best first."""
        return best([self.words(group) for group in groups])

    def words(self, group: Sequence[Sample]) -> Words:
        """The words of a group, with how many texts have each."""
        counts: Counter[str] = Counter()
        spelt: dict[str, Counter[str]] = {}
        for sample in group:
            met: set[str] = set()
            for word in _WORD.findall(sample.text[:_MOST_CHARACTERS]):
                for term, spelling in self._read(word, sample.language):
                    if term not in met:
                        met.add(term)
                        spelt.setdefault(term, Counter())[spelling] += 1
            counts.update(sorted(met))
        return Words(counts, len(group), spelt)

    def _read(self, word: str, language: str) -> Iterator[tuple[str, str]]:
        """The terms of a word, each with how it is spelt."""
        folded = fold(word)
        if not folded:
            return
        if is_unspaced(folded):
            yield from ((run, run) for run in _runs(folded))
        elif _LEAST_LETTERS <= len(folded) <= _MOST_LETTERS and folded not in _SMALL_TALK:
            bare = re.split(r"['\u2019]", folded)[0]
            if bare in _common_words() or (language in _NOUNS_HAVE_CAPITALS and word[0].islower()):
                return
            term = self._analyzer.term(bare, language)
            if term:
                yield term, word if language in _NOUNS_HAVE_CAPITALS else folded


@cache
def _common_words() -> frozenset[str]:
    """English words that say little by themselves: more of them than a search leaves out."""
    return frozenset(word.casefold() for word in stopwordsiso.stopwords("en"))


def _runs(text: str) -> Iterator[str]:
    for length in range(2, _LONGEST_RUN + 1):
        for start in range(len(text) - length + 1):
            run = text[start : start + length]
            if _EMPTY.isdisjoint(run) and not (length == 2 and languages.is_stop_bigram(run)):
                yield run


def _best(group: Words, everywhere: Counter[str], mean: float) -> tuple[str, ...]:
    counts = group.counts
    # A word of one text says little of many.
    least = 2 if group.texts >= 4 and any(count >= 2 for count in counts.values()) else 1
    scored = []
    for term, count in counts.items():
        if count < least:
            continue
        weight = count * log(1 + mean / everywhere[term])
        if is_unspaced(term):
            # What occurs once is hardly a word.
            weight *= 1 + _LONGER * (len(term) - 2) * (1 if count > 1 else -1)
        scored.append((-weight, term))
    chosen: list[str] = []
    for _, term in sorted(scored):
        if len(chosen) == WORDS:
            break
        if not any(_covers(counts, other, term) for other in chosen):
            chosen.append(term)
    return tuple(_spelling(group.spelt[term]) for term in chosen)


def _covers(counts: Counter[str], other: str, term: str) -> bool:
    """Whether a chosen run of characters leaves nothing to say for another one."""
    if not is_unspaced(term) or not is_unspaced(other):
        return False
    if term in other or other in term:
        return True
    # Two windows on one longer word.
    joint = min(len(term), len(other)) - 1
    overlap = any(
        term.endswith(other[:size]) or other.endswith(term[:size]) for size in range(1, joint + 1)
    )
    return overlap and counts[term] <= counts[other] / _STANDS_FOR


def _spelling(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda spelling: (-spellings[spelling], spelling))
