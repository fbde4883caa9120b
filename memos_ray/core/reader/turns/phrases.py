"""Noun phrases of an English text: names, "the old car", "Ann's sister", "Ann and Bob"."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace

from memos_ray.core.reader.query.call import EntityKind
from memos_ray.core.reader.query.entities import OPENERS, entity_spans
from memos_ray.core.reader.turns.english_words import (
    AUXILIARIES,
    DETERMINERS,
    EMPTY_NOUNS,
    FEMALE_NAMES,
    MALE_NAMES,
    MEN,
    OWNERS,
    PEOPLE,
    PREPOSITIONS,
    STOPS,
    TIME_NOUNS,
    WOMEN,
)

_MOST_WORDS = 4
# A turn speaks of a handful of things; a pasted list would name hundreds.
_MOST_PHRASES = 32
_NUMBERS = frozenset("two three four five six seven eight nine ten twelve several both".split())
_BEGINNINGS = DETERMINERS | _NUMBERS
_NOT_VERBS = PREPOSITIONS | AUXILIARIES
_NO_ANSWER_NAMES = OPENERS | TIME_NOUNS | STOPS
# "How was the first exam": nothing follows the subject.
_ASKS_OF = frozenset("what who where when how".split())
_ASKING = frozenset({"which", "what", "whose"})
_TOKEN = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*['\u2019]?|[^\w\s]")
# "Dolores, from the band." answers with a name that nothing but its capital tells.
_ANSWER_NAME = re.compile(
    r"(?:(?<=[.!?]\s)|^)[\"\u201c]?([A-Z][\w\u2019'-]+(?:\s[A-Z][\w\u2019'-]+){0,2})"
    r"(?=\s*(?:[,.!;(]|$|\s(?:and|or|from|in|at|with|did|has|is|was|will|does|had|[a-z]+(?:ed|es|s)|"
    r"bought|got|gave|took|made|went|said|told|sent|left|lost|came|found|kept|sold|met|won)\b))"
)
_PLACED = re.compile(
    r"\b(?:in|near|at|around|outside|inside|across|through|"
    r"(?:went|go|going|gone|goes|move|moved|moving|travel|travelled|traveled|fly|flew|flown|drive|"
    r"drove|driven|trip|train|flight|bus|back|come|came|return|returned|sail|sailed|walked|way|"
    r"relocated|relocate)\s+(?:to|from))\s+(?:the\s+)?$",
    re.I,
)
_AFTER_AUXILIARY = re.compile(
    r"\b(?:do|does|did|has|have|had|will|would|can|could|should|is|was|are|were|"
    r"(?:did|does|do|has|is|was|wo|ca|could|would|had)n['\u2019]t)\s+$",
    re.I,
)
_ACTS = re.compile(
    r"\s+(?:has|had|does|did|will|would|said|says|told|tells|went|goes|likes?|loves?|wants?|"
    r"bought|got|gave|took|lives?|lived|works?|worked|plays?|played|met|sold|sent|turned|asked)\b"
    r"|\s*,?\s+(?:who|whose)\b",
)
_TITLE = re.compile(r"(?:Dr|Mr|Mrs|Ms|Miss|Uncle|Aunt|Auntie|Professor|Sir|Lady)\.?\s", re.I)
_FEMALE_TITLE = re.compile(r"(?:Mrs|Ms|Miss|Aunt|Auntie|Lady)\b", re.I)
_MALE_TITLE = re.compile(r"(?:Mr|Uncle|Sir)\b", re.I)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A noun phrase, and what may stand for it.

    Attributes:
        gender: `f` or `m` where its words tell.
        person: whether a person; None when it may be one.
        place: whether the words before it put it somewhere.
        subject: whether it acts in its clause.
    """

    begin: int
    end: int
    text: str
    name: bool
    gender: str | None = None
    person: bool | None = None
    place: bool = False
    plural: bool = False
    subject: bool = False


def phrases(text: str) -> tuple[Phrase, ...]:
    """Returns the noun phrases of a text in their order; those of two names follow the names."""
    names = _names(text)
    tokens = [(one.start(), one.end(), one[0]) for one in _TOKEN.finditer(text)]
    # "Ann's sister" is about the sister; Ann stays, too, as somebody who was named.
    found = names + [
        chunk
        for chunk in _chunks(text, tokens, names)
        if not any(one.begin <= chunk.begin and chunk.end <= one.end for one in names)
    ]
    found.sort(key=lambda one: (one.begin, -one.end))
    return tuple(found) + tuple(_pairs(text, names))


def _names(text: str) -> list[Phrase]:
    spans = [
        (begin, end, entity.kind is not EntityKind.QUOTED)
        for begin, end, entity in entity_spans(text, ())
    ]
    for match in _ANSWER_NAME.finditer(text):
        begin, end = match.span(1)
        if match[1].split()[0].casefold() in _NO_ANSWER_NAMES:
            continue
        if all(end <= b or e <= begin for b, e, _ in spans):
            spans.append((begin, end, True))
    return [_name(text, *one) for one in sorted(spans)]


def _name(text: str, begin: int, end: int, bare: bool) -> Phrase:
    words = text[begin:end]
    if not bare:
        return Phrase(begin, end, words, True, person=False)
    gender = name_gender(words)
    place = _PLACED.search(text, max(0, begin - 30), begin) is not None
    subject = (
        _AFTER_AUXILIARY.search(text, max(0, begin - 12), begin) is not None
        or _ACTS.match(text, end) is not None
    )
    person: bool | None = None
    owns = text[end : end + 2].replace("\u2019", "'") == "'s"
    if gender or _TITLE.match(words) or owns or (subject and not place):
        person = True
    return Phrase(begin, end, words, True, gender, person, place and person is None, False, subject)


def name_gender(name: str) -> str | None:
    """Returns `f` or `m` where a title or a common given name tells, else None."""
    if _FEMALE_TITLE.match(name):
        return "f"
    if _MALE_TITLE.match(name):
        return "m"
    first = name.split()[0].casefold() if name.split() else ""
    return "f" if first in FEMALE_NAMES else "m" if first in MALE_NAMES else None


def _chunks(text: str, tokens: list[tuple[int, int, str]], names: list[Phrase]) -> list[Phrase]:
    found: list[Phrase] = []
    by_begin = {one.begin: one for one in names}
    place = 0
    while place < len(tokens) and len(found) < _MOST_PHRASES:
        begin, _end, word = tokens[place]
        low = _plain(word)
        owner = by_begin.get(begin)
        if owner is not None and text[owner.end : owner.end + 2].replace("\u2019", "'") == "'s":
            first = next(
                (i for i in range(place, len(tokens)) if tokens[i][0] >= owner.end + 2),
                len(tokens),
            )
        elif low in _BEGINNINGS or (low.endswith("'s") and low[:-2] in PEOPLE):
            first = place + 1
        elif low in _ASKING:
            first = place + 1
        elif _is_bare_plural(tokens, place):
            first = place
        else:
            place += 1
            continue
        last, most = first, 1 if low in _ASKING else _MOST_WORDS
        while last < len(tokens) and last - first < most and _continues(tokens[last][2]):
            last += 1
        last = _without_verb(text, tokens, place, first, last)
        counted = low in _NUMBERS
        if last > first and not (counted and _singular(tokens[last - 1][2]) == tokens[last - 1][2]):
            chunk = _chunk(text, begin, tokens[last - 1][1], tokens[last - 1][2])
            if chunk is not None:
                found.append(chunk)
        place = max(last, place + 1)
    return found


def _is_bare_plural(tokens: list[tuple[int, int, str]], place: int) -> bool:
    """Whether a clause ends with a plural that needs no article: "when did she get glasses?"."""
    word = tokens[place][2]
    if place == 0 or not word.islower() or len(word) < 5 or _singular(word) == word:
        return False
    before = tokens[place - 1][2]
    ends = place + 1 == len(tokens) or not tokens[place + 1][2][0].isalnum()
    return (
        ends
        and word not in STOPS
        and before.islower()
        and before not in _BEGINNINGS
        and before not in AUXILIARIES
        and not before.endswith("'s")
    )


def _continues(word: str) -> bool:
    low = _plain(word)
    return word[0].isalnum() and low not in STOPS and low not in DETERMINERS


def _plain(word: str) -> str:
    return word.lower() if word.isascii() else word.casefold().replace("\u2019", "'")


def _without_verb(
    text: str, tokens: list[tuple[int, int, str]], place: int, first: int, last: int
) -> int:
    """Leaves the verb out that follows the subject of a question: "did the vet say"."""
    before = tokens[place - 1][2].casefold() if place else ""
    if last - first < 2 or before not in AUXILIARIES:
        return last
    after = tokens[last][2].casefold() if last < len(tokens) else "?"
    if after in STOPS and after not in _NOT_VERBS:
        # The verb comes behind: "did the old exam go".
        return last
    linking = before in {"is", "are", "was", "were"}
    if linking and place >= 2 and tokens[place - 2][2].casefold() in _ASKS_OF:
        return last
    return last - 1


def _chunk(text: str, begin: int, end: int, head: str) -> Phrase | None:
    low = head.casefold().replace("\u2019", "'").removesuffix("'s").strip("'")
    singular = _singular(low)
    if singular in EMPTY_NOUNS or low in EMPTY_NOUNS or head.isdigit():
        return None
    gender = "f" if singular in WOMEN else "m" if singular in MEN else None
    if low in {"parents", "children", "people", "men", "women", "kids"} or (
        singular != low and low not in PEOPLE
    ):
        plural = True
    else:
        plural = False
    return Phrase(
        begin,
        end,
        text[begin:end],
        False,
        gender,
        True if singular in PEOPLE or (plural and low in {"parents", "children"}) else False,
        _PLACED.search(text, max(0, begin - 30), begin) is not None,
        plural,
        _AFTER_AUXILIARY.search(text, max(0, begin - 12), begin) is not None,
    )


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def _pairs(text: str, names: list[Phrase]) -> list[Phrase]:
    found = []
    for one, other in itertools.pairwise(names):
        if text[one.end : other.begin].strip() in {"and", "&"} and _may_be_people(one, other):
            pair = replace(one, end=other.end, text=text[one.begin : other.end])
            found.append(replace(pair, plural=True, gender=None, person=True))
    return found


def _may_be_people(*those: Phrase) -> bool:
    return all(one.person is not False and not one.place for one in those)


def owner_of(phrase: Phrase) -> str | None:
    """Returns the possessive that a phrase begins with ("her car": her), in lower case."""
    first = phrase.text.split()[0].casefold()
    return first if first in OWNERS else None
