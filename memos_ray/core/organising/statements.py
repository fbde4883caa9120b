"""Statements in a text: whose, about what, and what it says. English and Chinese, no LLM.

A statement fills a slot: a subject and something that has one value at a time (where somebody
lives, a favourite food, the deadline of a project). Only plain statements count: a question, a
wish, a plan, a denial or a memory of former times says nothing about now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memos_ray.core.organising import chinese, english
from memos_ray.core.organising.slots import Filled
from memos_ray.core.retrieval.text import fold, split_words

_MOST_CHARACTERS = 2000
_MOST = 8
_SENTENCE = re.compile(r"[^.!?;\n\u3002\uff01\uff1f\uff1b]+(?:[.](?=\w)[^.!?;\n]+)*[.!?\uff1f]?")
_SELF = frozenset(("i", "my", "me", "we", "our", "我", "我们", "本人", ""))


@dataclass(frozen=True, slots=True)
class Statement:
    """One slot and its value.

    Attributes:
        subject: folded; whoever speaks, by name, for "I".
        slot: what of the subject, such as `residence` or `favourite food`.
        value: folded words.
        changes: whether the text says that something has changed ("now", "moved to").
        sure: how surely the slot has one value at a time, 0 to 1.
        cues: each the words that a rival statement might have, all of them.
    """

    subject: str
    slot: str
    value: tuple[str, ...]
    changes: bool
    sure: float
    cues: tuple[tuple[str, ...], ...]


def statements(text: str, speaker: str | None = None) -> list[Statement]:
    """Reads the statements of a text, at most a few.

    Args:
        speaker: who says "I".
    """
    found: dict[tuple[str, str], Statement] = {}
    for sentence in _SENTENCE.findall(text[:_MOST_CHARACTERS]):
        if sentence.endswith(("?", "\uff1f")):
            continue
        for filled in _filled(sentence):
            statement = _statement(filled, fold(speaker or ""))
            if statement is not None:
                # What is said last holds.
                found[statement.subject, statement.slot] = statement
    return list(found.values())[:_MOST]


def _filled(sentence: str) -> Iterator[Filled]:
    reads: tuple[Callable[[str], Iterator[Filled]], ...] = (english.read,)
    if not sentence.isascii():
        reads = (chinese.read, english.read)
    for read in reads:
        yield from read(sentence)


def _statement(filled: Filled, speaker: str) -> Statement | None:
    subject = _subject(fold(filled.subject).strip(), speaker)
    value = tuple(split_words(fold(filled.value)))
    if not value or len(value) > 8:
        return None
    slot = fold(filled.slot).replace("favorite", "favourite")
    return Statement(subject, slot, value, filled.changes, filled.sure, filled.cues)


def _subject(written: str, speaker: str) -> str:
    if written in _SELF:
        return speaker
    for possessive in ("my ", "our ", "我的", "我"):
        if written.startswith(possessive):
            return f"{speaker}'s {written.removeprefix(possessive)}"
    return written.removeprefix("the ")
