"""One pass over an English question."""

from __future__ import annotations

import re

from memos_ray.core.reader.turns.candidates import Heard
from memos_ray.core.reader.turns.dialogue import Decision, Moment
from memos_ray.core.reader.turns.english_carrying import carry
from memos_ray.core.reader.turns.english_fragments import (
    complete,
    is_event_or_bare,
    statement,
)
from memos_ray.core.reader.turns.english_pairs import fill_kind, fill_pairs
from memos_ray.core.reader.turns.english_pronouns import fill_pronouns

# Cheap signs that a question leans on what was said before; without any it is left alone.
_LEANS = re.compile(
    r"\b(?:he|him|his|she|hers?|they|them|theirs?|its?|there|then|that|this|"
    r"which ones?|the (?:other|former|latter|first one|second one))\b"
    r"|^\W*(?:(?:thanks|thank you|ok|okay|great|nice|cool|i see|got it|right|sure|alright|good|"
    r"interesting|hm+|oh|ah|well)\b[\s,.!;:-]*)*(?:and|but|or|so|also)\b"
    r"|^\W*(?:what|how) about\b",
    re.I,
)
_SHORT_WORDS = 6
_ANOTHER = re.compile(
    r"^\W*(?:(?:and|but|so)\s+)?(?:(?:what|how) about\s+)?(?:for |with |to )?"
    r"(?:he|him|she|her|they|them)\W*$",
    re.I,
)


def leans(question: str) -> bool:
    """Tells whether a question may lean on what was said before."""
    return _LEANS.search(question) is not None or len(question.split()) <= _SHORT_WORDS


def rewrite_once(
    question: str, base: str | None, heard: Heard, moment: Moment
) -> tuple[str, list[Decision]]:
    """Fills what one pass can fill."""
    text, decisions = fill_pairs(question, heard)
    if base is not None:
        text, more = fill_kind(text, base)
        decisions += more
    another = base is not None and _ANOTHER.match(text) is not None
    avoid = frozenset[str]()
    if base is not None and another:
        avoid = frozenset(one.text.casefold() for one in heard.known.phrases(base))
    if not is_event_or_bare(text):
        # "When did that happen?" is completed as a whole.
        text, more = fill_pronouns(text, heard, moment, avoid)
        decisions += more
    if base is not None:
        found = complete(text, base, heard, moment) or carry(text, base, heard.known, moment)
    else:
        found = statement(text, heard)
    if found is not None:
        text, more = found
        decisions += more
    return text, decisions
