"""Whether a pronoun of an English question stands for something that the question itself names."""

from __future__ import annotations

import re

from memos_ray.core.reader.turns.candidates import Known
from memos_ray.core.reader.turns.english_words import AUXILIARIES, STOPS
from memos_ray.core.reader.turns.phrases import Phrase, name_gender

MASCULINE, FEMININE = frozenset({"he", "him", "his"}), frozenset({"she", "her", "hers"})
PLURAL = frozenset({"they", "them", "their", "theirs"})
# "It" that stands for nothing.
_EMPTY_IT = re.compile(
    r"\bwhat (?:time|day|date|year) (?:is|was) it\b|"
    r"\bit(?:['\u2019]s| is| was| be)? (?:rain|snow|cold|warm|hot|late|early|dark|sunny|time)\w*\b|"
    r"\b(?:is|was|be) it (?:rain|snow|cold|warm|hot|late|early|dark|sunny|time)\w*\b|"
    r"\b(?:is|was|isn['\u2019]t|wasn['\u2019]t) it (?!going|supposed|meant|due|about|planned)"
    r"(?:\w+ )?(?:that|to|true|possible|likely|worth|safe|ok|okay|better|easier)\b|"
    r"\bit(?:['\u2019]s| is| was| would be| will be) (?:like (?:to|being|when)\b|"
    r"\w+ (?:that|to|for)\b)|"
    r"\bwhat(?:['\u2019]s| is| was) it like (?:to|being|when|in|at|living|working)\b|"
    r"\b(?:does|did|would) it (?:feel|make sense|matter|help|seem)\b[^?]*\b(?:to|if|that)\b|"
    r"\b(?:does|did|will|would) it (?:take|cost)\b[^?]*\bto\b|"
    r"\b(?:make|made|makes|making) it (?:to|through|work|home|(?:on|in) time|clear|easy)\b|"
    r"\bhow is it that\b|\bit seems\b",
    re.I,
)
_EMPTY_REACH = 40, 60
# "Did Ann call her?": the subject right before the verb, and the pronoun right behind it.
_CALLS = (
    r"^(?:\W*(?:and|but|so|also)\s+)?(?:\w+\s+){{0,3}}(?:did|does|do|has|have|had|will|would|can|could)"
    r"\s+{name}\s+\w+\s+(?:(?:about|to|for|with|at|of|on|from|after|like|by)\s+)?$"
)
# "How far into her pregnancy will Ann be": whose, is told behind.
_NAME_BEHIND = re.compile(r"(?<=\s)[A-Z][\w-]+")
_INVERTED = re.compile(r"\b(?:do|does|did|has|have|had|will|would|can|could|were|are)\s+$", re.I)
_ASKED_FOR = frozenset({"what", "which", "whose"})
# "Make the cake and share it": what was made.
_COORDINATED = re.compile(r"\b(?:and|or|then)\s+\w+\s+$", re.I)


def stands_empty(text: str, begin: int = 0, end: int | None = None) -> bool:
    """Tells whether an "it" there stands for nothing: "what time is it?", "is it raining?"."""
    before, after = _EMPTY_REACH
    stop = len(text) if end is None else end
    return _EMPTY_IT.search(text[max(0, begin - before) : stop + after]) is not None


def others_than(
    low: str, before: str, after: str, owns: bool, known: Known
) -> frozenset[str] | None:
    """Returns what a pronoun cannot stand for; None when the question itself names what it means.

    "Did Ann sell her car": hers. "Did Ann call her": somebody else.

    Args:
        low: the pronoun, in lower case.
        before: the question up to it.
        owns: whether it says whose something is.
    """
    named = known.phrases(before)
    if owns and _is_told_behind(low, after):
        return None
    if low in PLURAL:
        alone = not any(one.plural or one.name or one.person for one in named)
        acts = low == "they" and _INVERTED.search(before) is not None
        return frozenset() if alone and (acts or not _has_plural(before)) else None
    if low not in MASCULINE | FEMININE:
        thing = any(
            not one.person and not one.plural and one.text.split()[0].lower() not in _ASKED_FOR
            for one in named
        )
        return None if thing or _COORDINATED.search(before) else frozenset()
    fitting = [one for one in named if _fits(one, low)]
    if not fitting:
        return frozenset()
    if low == "him" or (low == "her" and not owns):
        (first, *more) = fitting
        calls = re.compile(_CALLS.format(name=re.escape(first.text)), re.I)
        if not more and calls.match(before):
            return frozenset({first.text.casefold()})
    return None


def _fits(one: Phrase, low: str) -> bool:
    gender = "m" if low in MASCULINE else "f"
    return (
        one.person is not False
        and not one.plural
        and not one.place
        and one.gender in {gender, None}
    )


def _is_told_behind(low: str, after: str) -> bool:
    """Whether a name follows that may be meant: better left alone than given to somebody else."""
    if low in PLURAL:
        return re.search(r"\b(?:are|were|do|did) the \w+", after) is not None
    fitting = {"m" if low in MASCULINE else "f", None}
    return low != "its" and any(
        name_gender(match[0]) in fitting for match in _NAME_BEHIND.finditer(after)
    )


def _has_plural(before: str) -> bool:
    """Whether a plural comes before that nothing else marks: "make links and colour them"."""
    return any(
        len(word) > 3 and word.endswith("s") and word not in STOPS and word not in AUXILIARIES
        for word in re.findall(r"\b[a-z]+(?![\w'\u2019])", before)
    )
