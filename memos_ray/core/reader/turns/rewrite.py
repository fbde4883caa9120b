"""Rewrites a question so that it can be understood without the dialogue before it (READ-2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Protocol

from memos_ray.core.reader.language import detect_language
from memos_ray.core.reader.turns import chinese, english, german
from memos_ray.core.reader.turns.candidates import Heard, Known
from memos_ray.core.reader.turns.dialogue import (
    MAX_GROWTH_CHARS,
    Decision,
    Moment,
    Rewriting,
    Turn,
    latest,
)

# What is longer is a text, and says by itself what it is about.
MAX_QUESTION_CHARS = 1_000
_PASSES = 4
_LEAST_CHARS = 2
_THANKS = re.compile(
    r"^\W*(?:thanks?(?: you)?|ok(?:ay)?|great|nice|cool|got it|i see|right|danke|谢谢|好的|明白了?|"
    r"知道了)\b.{0,20}$(?<!\?)",
    re.I,
)
_QUESTION = re.compile(
    r"\?|\uff1f|[吗嗎呢]\s*$|^(?:what|when|where|who|whom|whose|which|why|how|is|are|was|were|do|does|"
    r"did|has|have|had|can|could|will|would|wer|was|wann|wo|warum|wie)\b|什么|什麼|哪|谁|誰|多少|"
    r"怎么|几[个岁天年]|^(?:tell me|show me|find|list)\b",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?。\uff01\uff1f])\s*")


def rewrite(question: str, turns: Sequence[Turn], now: datetime, tz: tzinfo) -> Rewriting:
    """Fills what a question leaves to the dialogue: who "she" is, where "there", "and in March?".

    Nothing is filled in that was not said. A question that stands alone comes back as it is, and so
    does one whose gaps nothing fills; then the decisions say why. Rewriting what was rewritten
    changes nothing more. English, Chinese, and the commonest forms of German.

    Complexity: under a millisecond for a usual dialogue; `MAX_TURNS` turns are looked at, newest
    first, and each once.

    Args:
        turns: what was said before, oldest first.
        now: the moment of the question, aware.
        tz: the zone of whoever asks.
    """
    said = latest(turns)
    if not said or not question.strip() or len(question) > MAX_QUESTION_CHARS:
        return Rewriting(question)
    return _Dialogue(said, Moment(now, tz)).rewrite(question, len(said))


class Rules(Protocol):
    """What a module knows of one language."""

    def leans(self, question: str) -> bool:
        """Tells whether a question may lean on what was said before."""
        ...

    def rewrite_once(
        self, question: str, base: str | None, heard: Heard, moment: Moment
    ) -> tuple[str, list[Decision]]:
        """Fills what one pass can fill."""
        ...


class _Dialogue:
    """The turns, with the earlier questions in full, found as they are needed."""

    def __init__(self, turns: Sequence[Turn], moment: Moment) -> None:
        self._turns = turns
        self._moment = moment
        self._bases: dict[int, str | None] = {}
        self._known = Known()

    def rewrite(self, question: str, before: int) -> Rewriting:
        """Rewrites a question that follows the first `before` turns."""
        text, filled = question, list[Decision]()
        for _ in range(_PASSES):
            rules = _rules(text)
            if not rules.leans(text):
                return Rewriting(text, tuple(filled))
            heard, base = self._heard(before), self._base(before)
            new, decisions = rules.rewrite_once(text, base, heard, self._moment)
            if new == text:
                opened = [one for one in decisions if one.meant is None]
                return Rewriting(text, (*filled, *opened))
            filled += [one for one in decisions if one.meant is not None]
            text = new
            if len(text) > len(question) + MAX_GROWTH_CHARS:
                break
        return Rewriting(question)

    def _heard(self, before: int) -> Heard:
        return Heard(self._turns[:before], self._known)

    def _base(self, before: int) -> str | None:
        """Returns the last question among the first `before` turns, in full."""
        for place in range(before - 1, -1, -1):
            turn = self._turns[place]
            if not turn.asked or len(turn.text) < _LEAST_CHARS or _THANKS.match(turn.text):
                continue
            if place not in self._bases:
                self._bases[place] = self._full(turn.text, place)
            return self._bases[place]
        return None

    def _full(self, text: str, place: int) -> str | None:
        asked = [one for one in _SENTENCE.split(text.strip()) if _QUESTION.search(one)]
        if not asked or len(asked[-1]) > MAX_QUESTION_CHARS:
            return None
        return self.rewrite(asked[-1], place).text


def _rules(question: str) -> Rules:
    if detect_language(question) == "zh":
        return chinese
    return german if german.is_german(question) else english
