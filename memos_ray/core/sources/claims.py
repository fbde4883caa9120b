"""What sentences claim: their words, numbers, bounds and denials. English and Chinese, no LLM.

Two sentences speak of the same when they share their content words; they contradict one another
when they then differ in a number, in being denied, or in the side of a bound ("at least").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from memos_ray.core.retrieval.languages import is_stop_bigram, stemmer, stop_words
from memos_ray.core.retrieval.text import fold, is_unspaced, split_words

_MOST_CLAIMS = 64
_MOST_CHARACTERS = 600
_CUE_WORDS = 3
_LONG_LINE, _ENDS = 40, frozenset(".!?;:|\u3002\uff01\uff1f\uff1b\uff1a")
_BREAK = re.compile(r"(?<=[!?;\u3002\uff01\uff1f\uff1b])|(?<=\.)(?=\s|$)|\n+")
_MARKS = re.compile(r"^(?:[-*+>|]\s*|\d{1,3}[.)]\s+)+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WRITTEN = {
    "once": "1",
    "twice": "2",
    **{word: str(n) for n, word in enumerate("two three four five six seven eight".split(), 2)},
    **{word: str(n) for n, word in enumerate("nine ten eleven twelve".split(), 9)},
}
_WRITTEN_WORD = re.compile(rf"\b(?:{'|'.join(_WRITTEN)})\b")


class Bound(StrEnum):
    """On which side of a number something lies."""

    UPPER = "at most"
    LOWER = "at least"


# In this order: "no more than" is an upper bound, and neither a lower one nor a denial.
_BOUNDS = (
    (
        Bound.UPPER,
        r"\b(?:no|not) (?:more|longer|later|higher|greater) than\b|"
        r"\b(?:not|never) exceed(?:ing)?\b|\bat most\b|\bup to\b|\bmaximum(?: of)?\b|"
        r"\b(?:less|lower|fewer|shorter) than\b|\bbelow\b|\bunder\b|\bwithin\b|[\u2264<]=?|"
        r"不超过|不得超过|不多于|至多|最多|低于|小于|少于|以下|以内",
    ),
    (
        Bound.LOWER,
        r"\b(?:no|not) (?:less|fewer|lower|shorter|earlier) than\b|\bat least\b|"
        r"\bminimum(?: of)?\b|\b(?:more|greater|higher|longer) than\b|\babove\b|\bover\b|"
        r"\bexceed(?:s|ing)?\b|[\u2265>]=?|"
        r"不少于|不低于|不得低于|至少|最少|高于|大于|超过|以上",
    ),
)
_BOUND_PATTERNS = tuple((bound, re.compile(pattern)) for bound, pattern in _BOUNDS)
_DENIED = re.compile(
    r"\b(?:not|no|never|without|neither|nor|cannot)\b|n['\u2019]t\b|\bavoid(?:ed|s)?\b|"
    r"\b(?:contraindicated|prohibited|forbidden|discouraged|discontinue[ds]?|disallowed)\b|"
    r"不应|不宜|不得|不能|不再|不可|不要|不|禁止|禁用|禁忌|避免|切勿|勿|无需|没有|停用"
)
_SAID_OF_DOING = re.compile(
    r"\b(?:should|shall|must|may|can|could|is|are|be|been|recommended|advised|indicated|allowed|"
    r"permitted|required|encouraged|suggested|longer|given|used?|do|does)\b|"
    r"推荐|建议|应当|应该|应|可以|可|必须|需要|需|使用"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, taken apart.

    Attributes:
        text: as it stands, without marks of a list.
        words: its content words as terms, without numbers, bounds and denials.
        order: the same words as they are written, in order.
        numbers: as they are written, thousands separators removed.
    """

    text: str
    words: frozenset[str]
    order: tuple[str, ...]
    numbers: Counter[str]
    bounds: frozenset[Bound]
    denied: bool


def claims(text: str) -> list[Claim]:
    """Reads the sentences of a text, headings left out, at most a few."""
    return list(_claims(text))[:_MOST_CLAIMS]


def cues(claim: Claim) -> list[tuple[str, ...]]:
    """Runs of words, each of which a sentence about the same might have; for a word index."""
    words = list(dict.fromkeys(claim.order))
    if len(words) <= _CUE_WORDS:
        return [tuple(words)] if words else []
    return [tuple(words[at : at + _CUE_WORDS]) for at in range(len(words) - _CUE_WORDS + 1)]


def _claims(text: str) -> Iterator[Claim]:
    for line in _lines(text):
        if line.lstrip().startswith("#"):
            continue
        for piece in _BREAK.split(line):
            sentence = _MARKS.sub("", (piece or "").strip())[:_MOST_CHARACTERS]
            if sentence and not sentence.endswith(("?", "\uff1f")):
                claim = _claim(sentence)
                if claim.words:
                    yield claim


def _lines(text: str) -> Iterator[str]:
    """Yields the lines of a text; those that were broken to fit a page are put together."""
    held = ""
    for line in text.splitlines():
        if _goes_on(held, line):
            gap = "" if is_unspaced(held.rstrip()[-1]) else " "
            held = f"{held.rstrip()}{gap}{line.strip()}"
        else:
            yield held
            held = line
    yield held


def _goes_on(line: str, following: str) -> bool:
    before, after = line.strip(), following.strip()
    if not before or not after or "#" in (before[0], after[0]) or _MARKS.match(after):
        return False
    if is_unspaced(before[-1]) and is_unspaced(after[0]):
        return len(before) >= _LONG_LINE * 2 // 5
    return len(before) >= _LONG_LINE and before[-1] not in _ENDS and not after[0].isupper()


@lru_cache(maxsize=4096)
def _claim(sentence: str) -> Claim:
    rest = _WRITTEN_WORD.sub(lambda found: _WRITTEN[found[0]], fold(sentence))
    bounds = set()
    for bound, pattern in _BOUND_PATTERNS:
        rest, times = pattern.subn(" ", rest)
        if times:
            bounds.add(bound)
    rest, denials = _DENIED.subn(" ", rest)
    rest = _SAID_OF_DOING.sub(" ", rest)
    numbers = Counter(_value(found) for found in _NUMBER.findall(rest))
    stops = stop_words("en")
    found = split_words(_NUMBER.sub(" ", rest))
    order = tuple(word for word in found if is_unspaced(word) or word not in stops)
    words = frozenset(_terms(order))
    return Claim(sentence, words, order, numbers, frozenset(bounds), denials % 2 == 1)


def _value(written: str) -> str:
    whole = re.sub(r",(?=\d{3}(?:\D|$))", "", written).replace(",", ".")
    return whole.rstrip("0").rstrip(".") if "." in whole else whole


def _terms(words: Iterable[str]) -> Iterator[str]:
    stem = stemmer("en")
    for word in words:
        if is_unspaced(word):
            pairs = [word[i : i + 2] for i in range(len(word) - 1)] or [word]
            yield from (pair for pair in pairs if not is_stop_bigram(pair))
        else:
            yield stem(word)
