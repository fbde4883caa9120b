"""Who and what a question may refer to, the likeliest first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from memos_ray.core.reader.turns.chinese_phrases import names_of
from memos_ray.core.reader.turns.dialogue import Turn
from memos_ray.core.reader.turns.english_words import ANIMALS, PEOPLE, PREPOSITIONS
from memos_ray.core.reader.turns.phrases import Phrase, owner_of, phrases

_HE = re.compile(r"\b(?:he|him|his|himself)\b", re.I)
_SHE = re.compile(r"\b(?:she|her|hers|herself)\b", re.I)
_NEXT_PRONOUN = re.compile(r"\b(he|him|his|himself|she|her|hers|herself)\b", re.I)
_KIN_BEFORE = re.compile(
    r"\b(?:(?P<f>mother|mum|mom|sister|daughter|wife|girlfriend|aunt|niece|grandmother|fiancée)|"
    r"(?P<m>father|dad|brother|son|husband|boyfriend|uncle|nephew|grandfather|fiancé)),?\s+$",
    re.I,
)
_KIN_AFTER = re.compile(
    r",?\s+(?:(?:is|was)\s+)?(?:my|your|his|her|their|our|the|[A-Z]\w+['\u2019]s)\s+(?:\w+\s+)?"
    r"(?:(?P<f>mother|mum|mom|sister|daughter|wife|girlfriend|aunt|niece|grandmother|fiancée)|"
    r"(?P<m>father|dad|brother|son|husband|boyfriend|uncle|nephew|grandfather|fiancé))\b",
    re.I,
)
_WHO_ASKED = re.compile(
    r"\b(?:who|whom|whose)\b|\bname\b|\bcalled\b|\bwhich (?:person|one of them|friend)\b",
    re.I,
)
# "What is her job?" goes on about the job, "What did she buy?" about what was bought.
_WHO_ALONE = re.compile(r"\b(?:who|whom|whose)\b", re.I)
_WHAT_ASKED = re.compile(r"\b(?:what|which)\b(?!\s+(?:is|are|was|were)\b|['\u2019]s\b)", re.I)
_WHERE_ASKED = re.compile(r"\bwhere\b|\b(?:what|which) (?:city|town|country|place|village)\b", re.I)
_BEGINS = re.compile(
    r"^\W*(?:(?:yes|no|in|on|at|because|since|after)\b[\s,]*)*(he|she|his|her)\b", re.I
)
# Where a name stands most often in a turn, nothing new is learnt.
_TIMES = 4
# What was said longer ago is named again, or not meant.
_EXCHANGES = 6
_REACH = 90


@dataclass(frozen=True, slots=True)
class Said:
    """A turn, taken apart.

    Attributes:
        back: how many turns ago it was said, beginning with 1.
        asks: of the question before an answer, so that one knows what was asked for.
    """

    turn: Turn
    back: int
    phrases: tuple[Phrase, ...]
    asks: str = ""

    @property
    def text(self) -> str:
        """What was said."""
        return self.turn.text


class Known:
    """What texts of one dialogue were found to say, so that each is taken apart once.

    Attributes:
        genders: `f` or `m`, or None, by name and number of turns.
    """

    def __init__(self) -> None:
        self._phrases: dict[str, tuple[Phrase, ...]] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self.genders: dict[tuple[str, int], str | None] = {}

    def phrases(self, text: str) -> tuple[Phrase, ...]:
        """Returns the noun phrases of an English text."""
        found = self._phrases.get(text)
        if found is None:
            found = self._phrases[text] = phrases(text)
        return found

    def names(self, text: str) -> tuple[str, ...]:
        """Returns the names that a Chinese text makes known."""
        found = self._names.get(text)
        if found is None:
            found = self._names[text] = names_of(text)
        return found


class Heard:
    """The turns before a question, taken apart as far back as somebody asks.

    Complexity: a turn is taken apart once, in some tens of microseconds.
    """

    def __init__(self, turns: Sequence[Turn], known: Known) -> None:
        self.turns = turns
        self.known = known
        self._said: dict[int, Said] = {}

    def back(self) -> Iterator[Said]:
        """Yields the turns, newest first."""
        for place in range(len(self.turns) - 1, -1, -1):
            found = self._said.get(place)
            if found is None:
                turn = self.turns[place]
                before = self.turns[place - 1] if place else None
                asks = before.text if before and before.asked and not turn.asked else ""
                named = self.known.phrases(turn.text)
                found = self._said[place] = Said(turn, len(self.turns) - place, named, asks)
            yield found

    def exchanges(self) -> Iterator[tuple[Said, ...]]:
        """Yields questions with their answers, newest first; what is likelier meant comes first.

        After "Who sewed it?" people speak of the answer, after "When did Ann leave?" of Ann.
        """
        answers: list[Said] = []
        seen = 0
        for said in self.back():
            if not said.turn.asked:
                answers.append(said)
                continue
            yield (said, *answers)
            answers = []
            seen += 1
            if seen == _EXCHANGES:
                return
        if answers:
            yield tuple(answers)


def gender_of(phrase: Phrase, said: Said) -> str | None:
    """Returns `f` or `m` where the phrase or the words around it tell."""
    if phrase.gender or phrase.plural:
        return phrase.gender
    if not phrase.name:
        return None
    return _gender_around(said.text, phrase.begin, phrase.end)


def _gender_around(text: str, begin: int, end: int) -> str | None:
    for match in (
        _KIN_BEFORE.search(text, max(0, begin - 24), begin),
        _KIN_AFTER.match(text, end, end + 60),
    ):
        if match is not None:
            return "f" if match["f"] else "m"
    found = _NEXT_PRONOUN.search(text, end, end + _REACH)
    if found is not None:
        between = text[end : found.start()]
        # Another name in between takes the pronoun.
        if not re.search(r"[A-Z]\w+", re.sub(r"[.!?]\s+[A-Z]", " ", between)):
            return "f" if _SHE.match(found[0]) else "m"
    return None


def people(heard: Heard, gender: str | None) -> Iterator[tuple[Phrase, Said]]:
    """Yields persons for "he" or "she": of one exchange, those first whose gender is known."""
    for exchange in heard.exchanges():
        ordered = _ordered(exchange, _WHO_ASKED if _names_somebody(exchange) else _WHO_ALONE)
        sure, possible = [], []
        for phrase, said in ordered:
            if phrase.person is False or phrase.plural or (phrase.place and not phrase.person):
                continue
            known = gender_of(phrase, said)
            if known is None and phrase.name:
                known = _elsewhere(heard, phrase.text)
            if known == gender:
                sure.append((phrase, said))
            elif known is None:
                possible.append((phrase, said))
        yield from sure
        yield from possible


def _elsewhere(heard: Heard, name: str) -> str | None:
    """Returns what any turn tells of a name; turns are only read, which is cheap."""
    genders, asked = heard.known.genders, (name, len(heard.turns))
    if asked not in genders:
        genders[asked] = _told(heard, name)
    return genders[asked]


def _told(heard: Heard, name: str) -> str | None:
    whole = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    answer = ""
    for turn in reversed(heard.turns):
        # Most turns do not speak of somebody, and a plain search is much the cheapest.
        named_here = name in turn.text
        for match in islice(whole.finditer(turn.text), _TIMES) if named_here else ():
            found = _gender_around(turn.text, *match.span())
            if found is not None:
                return found
        begins = _BEGINS.match(answer) if named_here and turn.asked else None
        if begins is not None:
            # "Where does Jo live?" "She lives in Rome."
            named = [one for one in heard.known.phrases(turn.text) if one.name and not one.plural]
            found = _told_by(begins[1], [one.text for one in named], name, answer)
            if found is not None:
                return found
        answer = "" if turn.asked else turn.text
    return None


def _names_somebody(exchange: tuple[Said, ...]) -> bool:
    """Whether the name asked for is a person's or an animal's, and not a thing's."""
    asked = next((said.asks for said in exchange if said.asks), "").lower()
    return not PEOPLE.isdisjoint(words := re.findall(r"[a-z-]+", asked)) or not (
        ANIMALS.isdisjoint(words)
    )


def _told_by(first: str, named: list[str], name: str, answer: str) -> str | None:
    """Tells whom "he" at the beginning of an answer stands for, and "she" behind it."""
    gender = "f" if first.lower() in {"she", "her"} else "m"
    if named[:1] == [name]:
        return gender
    other = _SHE if gender == "m" else _HE
    if len(named) == 2 and named[1] == name and other.search(answer):
        return "m" if gender == "f" else "f"
    return None


def groups(heard: Heard) -> Iterator[tuple[Phrase, Said]]:
    """Yields what "they" may stand for."""
    for exchange in heard.exchanges():
        yield from (one for one in _ordered(exchange, _WHO_ASKED) if one[0].plural)


def things(heard: Heard) -> Iterator[tuple[Phrase, Said]]:
    """Yields what "it" may stand for."""
    for exchange in heard.exchanges():
        ordered = _ordered(exchange, _WHAT_ASKED)
        fitting = [
            one for one in ordered if not one[0].person and not one[0].plural and not _own(one)
        ]
        fitting.sort(key=lambda one: not one[1].turn.asked and _oblique(one))
        answers = [one for one in fitting if _answers(one)]
        yield from answers
        # A name of nobody knows what comes last: it may be a person's after all.
        yield from (one for one in fitting if one[0].person is False)
        yield from (one for one in fitting if one[0].person is None)


def _answers(one: tuple[Phrase, Said]) -> bool:
    """Whether a phrase is the answer: "Which company was it?" "Copperwire, a small one."."""
    phrase, said = one
    return bool(said.asks) and phrase.begin <= 1 and _WHAT_ASKED.search(said.asks) is not None


def _oblique(one: tuple[Phrase, Said]) -> bool:
    """Whether a phrase only says more of another: "a job at the museum"."""
    phrase, said = one
    before = re.search(r"([A-Za-z]+)\s+$", said.text[: phrase.begin])
    return before is not None and before[1].lower() in PREPOSITIONS


def _own(one: tuple[Phrase, Said]) -> bool:
    """Whether a phrase belongs to who spoke, so that its owner changes with the speaker."""
    phrase, said = one
    return not said.turn.asked and owner_of(phrase) in {"my", "our", "your"}


def places(heard: Heard) -> Iterator[tuple[Phrase, Said]]:
    """Yields what "there" may stand for."""
    for exchange in heard.exchanges():
        where = any(_WHERE_ASKED.search(said.asks) for said in exchange)
        for said in reversed(exchange) if where else exchange:
            yield from ((phrase, said) for phrase in said.phrases if phrase.place)
            if where and not said.turn.asked:
                yield from (
                    (phrase, said)
                    for phrase in said.phrases
                    if phrase.name and not phrase.person and not phrase.plural
                )


def _ordered(exchange: tuple[Said, ...], new: re.Pattern[str]) -> list[tuple[Phrase, Said]]:
    asked = next((said.asks for said in exchange if said.asks), "")
    answered_first = new.search(asked) is not None
    said_in_order = sorted(exchange, key=lambda said: said.turn.asked == answered_first)
    return [(phrase, said) for said in said_in_order for phrase in said.phrases]
