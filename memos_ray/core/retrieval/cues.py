"""Cheap cues in a text: does it ask, does it tell or ask a time. English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TIME_WORDS = frozenset(
    """
    january february march april june july august september october november december
    jan feb mar apr jun jul aug sep sept oct nov dec
    monday tuesday wednesday thursday friday saturday sunday
    yesterday today tonight tomorrow ago recently
    day days week weeks weekend month months year years decade decades
    morning afternoon evening night midnight noon hour hours minute minutes
    spring summer autumn winter christmas easter birthday anniversary
    """.split()
) | {str(year) for year in range(1900, 2100)}
_CJK_TIME = re.compile(
    r"[昨今明前后][天日晚年]|[上下本这][个]?[周月年]|星期|周[一二三四五六日末]|\d[年月日号点]|"
    r"[去今明前]年|早上|上午|中午|下午|晚上|春节|生日|刚才|最近|[天周月年]前"
)
_ASKS_TIME = re.compile(
    r"\s*(?:(?:and|so|but|do you (?:know|remember))\s+)?"
    r"(?:when\b|how long\b|since when\b|(?:on |in |at |during )?(?:what|which)\s+"
    r"(?:exact\s+)?(?:date|day|week|month|year|time|season|decade)\b)",
    re.IGNORECASE,
)
_CJK_ASKS_TIME = re.compile(
    r"什么时候|何时|啥时候|哪[一]?[天年月日周]|几[月号点]|多久|什么时间|哪个月"
)
_ASKS_ASSISTANT = re.compile(
    # What rules out most places comes first.
    r"\b(?=[ya])(?<!\bcan )(?<!\bcould )(?<!\bwill )(?<!\bwould )(?:you|your|assistant)\b",
    re.IGNORECASE,
)
_CJK_ASKS_ASSISTANT = re.compile(r"(?<!\u80fd)(?<!\u8bf7)(?:\u4f60|\u60a8|\u52a9\u624b)")
_CLOSING = " \t\r\n\"')]}»\u201d\u2019*_"
_ENOUGH = 2
_QUESTION_WORDS = 15


def is_question(text: str) -> bool:
    """Whether a text ends by asking."""
    return text.rstrip(_CLOSING).endswith(("?", "\uff1f", "\u061f"))


def asks_time(text: str) -> bool:
    """Whether a query wants a time for an answer."""
    return _ASKS_TIME.match(text) is not None or (
        not text.isascii() and _CJK_ASKS_TIME.search(text) is not None
    )


def asks_assistant(text: str) -> bool:
    """Whether a query asks what the assistant said ("what did you recommend?")."""
    return _ASKS_ASSISTANT.search(text) is not None or (
        not text.isascii() and _CJK_ASKS_ASSISTANT.search(text) is not None
    )


def question_share(text: str, words: int) -> float:
    """How much of a memory is a question: 1 for a short one, less for a long one that ends so."""
    return min(1.0, _QUESTION_WORDS / max(words, 1)) if is_question(text) else 0.0


def tells_time(words: Sequence[str], text: str) -> float:
    """How much a memory speaks of time: 0 for none, 1 for two words of time or more."""
    found = sum(map(_TIME_WORDS.__contains__, words))
    if found < _ENOUGH and not text.isascii():
        found += min(_ENOUGH, sum(1 for _ in _CJK_TIME.finditer(text)))
    return min(found, _ENOUGH) / _ENOUGH
