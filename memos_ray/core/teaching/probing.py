"""What an adapter knows, found by asking: with it and without, in several wordings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memos_ray.core.activation import SourceVersion
from memos_ray.core.teaching.completion import Completion, split
from memos_ray.core.teaching.lessons import Knowledge
from memos_ray.core.teaching.phrasing import PhrasingSet, Statement, recognise

_PUNCTUATION = " \t\n.,;:!?\"'。,;:!?“”"
_LONGEST = 200
_FEWEST = 2
_END = " .!。!"


@dataclass(frozen=True, slots=True)
class Probe:
    """Questions for what one memory said.

    Attributes:
        about: how to state an answer.
    """

    source: SourceVersion
    questions: tuple[str, ...]
    about: Statement | Completion


@dataclass(frozen=True, slots=True)
class ProbedStatement:
    """What a model says with an adapter, and not without.

    Attributes:
        source: the memory that was asked about.
        confidence: share of the wordings that give this answer, from 0 to 1.
    """

    source: SourceVersion
    text: str
    confidence: float


def plain_answer(text: str) -> str:
    """Returns what counts of an answer: no capitals, width or outer punctuation."""
    return unicodedata.normalize("NFKC", text).casefold().strip(_PUNCTUATION)


def right(said: str, wanted: str) -> bool:
    """Tells whether an answer has the wanted one in it, as whole words where there are words."""
    answer, value = plain_answer(said), plain_answer(wanted)
    if not value:
        return False
    if not value.isascii():
        return value in answer
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", answer) is not None


def probes(knowledge: Sequence[Knowledge], known: Sequence[PhrasingSet]) -> list[Probe]:
    """Returns the questions for what memories said; none for those that cannot be asked about.

    Args:
        known: phrasings, in the order in which they are tried.
    """
    found = []
    for one in knowledge:
        read = (recognise(one.text, one.kind, language) for language in known)
        stated = next((each for each in read if each is not None), None)
        if stated is not None:
            found.append(Probe(one.source, stated.questions(), stated))
        elif completion := split(one.text, one.kind, known):
            found.append(Probe(one.source, completion.questions, completion))
    return found


def stated(
    probe: Probe, with_adapter: Sequence[str], without: Sequence[str]
) -> ProbedStatement | None:
    """Returns what the adapter has the model say in at least two wordings, if it does.

    Args:
        with_adapter: the answer to each of the questions.
        without: that of the base model; a wording whose answer is the same shows nothing.
    """
    own = [plain_answer(each) for each in with_adapter]
    base = [plain_answer(each) for each in without]
    shown = {
        place: each
        for place, (each, before) in enumerate(zip(own, base, strict=True))
        if each and each != before
    }
    if not shown:
        return None
    best, agreeing = Counter(shown.values()).most_common(1)[0]
    first = next(place for place, each in shown.items() if each == best)
    said = " ".join(with_adapter[first].split()).rstrip(_END)
    if agreeing < _FEWEST or len(said) > _LONGEST:
        return None
    return ProbedStatement(
        probe.source, _sentence(probe.about, said), round(agreeing / len(probe.questions), 4)
    )


def _sentence(about: Statement | Completion, said: str) -> str:
    if isinstance(about, Completion):
        whole = said.casefold().startswith(about.beginning.casefold())
        return said if whole else about.with_rest(said)
    wordings = replace(about, value=said).statements()
    # The plainest one that puts no article of its own before the answer.
    fit = [
        wording
        for template, wording in zip(about.phrasing.statements, wordings, strict=True)
        if "{value}" in template
    ]
    return [*fit, *wordings][0]
