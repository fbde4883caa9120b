"""Fills "the other one", "the former" and "the second one" from two that were named together."""

from __future__ import annotations

import itertools
import re

from memos_ray.core.reader.turns.candidates import Heard, Said
from memos_ray.core.reader.turns.dialogue import Decision, Slot
from memos_ray.core.reader.turns.phrases import Phrase

_WHICH_ONE = re.compile(r"\b(which) ones?\b(?! of)", re.I)
_KIND = re.compile(
    r"\b(?:which|what)\s+(?!one\b|is\b|are\b|was\b|were\b|do\b|does\b|did\b|has\b|"
    r"have\b|had\b|will\b|would\b|can\b|could\b|should\b)([a-z]+)\b",
    re.I,
)
_ONE_OF_TWO = re.compile(
    r"\bthe (?:(?P<other>other(?: one)?)|(?P<first>former|first one)|(?P<second>latter|second one))"
    r"(?=['\u2019]s\b|\s*[?!.,]|\s*$|\s+(?:is|was|did|does|do|has|had|will|would|cost|live|"
    r"lives|go|come|like|say|work|end|happen)\b)",
    re.I,
)


def fill_pairs(question: str, heard: Heard) -> tuple[str, list[Decision]]:
    """Replaces the first such expression."""
    match = _ONE_OF_TWO.search(question)
    if match is None:
        return question, []
    found = _last_pair(heard)
    if found is None:
        nothing = Decision(Slot.THING, match[0], None, "no two were named together")
        return question, [nothing]
    one, two, said = found
    if match["first"] or match["second"]:
        meant = one if match["first"] else two
    else:
        spoken_of = _spoken_of(one, two, said, heard)
        if spoken_of is None:
            reason = f"ambiguous: {one.text} or {two.text}"
            return question, [Decision(Slot.THING, match[0], None, reason)]
        meant = two if spoken_of is one else one
    text = question[: match.start()] + meant.text + question[match.end() :]
    slot = Slot.PERSON if meant.person else Slot.THING
    return text, [Decision(slot, match[0], meant.text, f"of {one.text} and {two.text}")]


def fill_kind(question: str, base: str) -> tuple[str, list[Decision]]:
    """Replaces "which one" by the kind of thing that was asked for before: "which allotment"."""
    match, kind = _WHICH_ONE.search(question), _KIND.search(base)
    if match is None or kind is None:
        return question, []
    new = f"{match[1]} {kind[1]}"
    text = question[: match.start()] + new + question[match.end() :]
    return text, [Decision(Slot.THING, match[0], new, "of the question before")]


def _last_pair(heard: Heard) -> tuple[Phrase, Phrase, Said] | None:
    for said in heard.back():
        singles = [one for one in said.phrases if not (one.plural and one.name)]
        for one, two in reversed(list(itertools.pairwise(singles))):
            between = said.text[one.end : two.begin].strip(" ,")
            if between.lower() in {"and", "or", "&"} and one.end <= two.begin:
                return one, two, said
    return None


def _spoken_of(one: Phrase, two: Phrase, pair: Said, heard: Heard) -> Phrase | None:
    """Returns which of the two was named alone after the pair; None: neither, or both."""
    tail = pair.text[two.end :]
    later = " ".join([*(said.text for said in heard.back() if said.back < pair.back), tail])
    low = later.casefold()
    named = [phrase for phrase in (one, two) if _bare(phrase) in low]
    return named[0] if len(named) == 1 else None


def _bare(phrase: Phrase) -> str:
    return re.sub(r"^(?:the|a|an|her|his|my|our|their)\s+", "", phrase.text.casefold())
