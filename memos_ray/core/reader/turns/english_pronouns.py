"""Fills the pronouns of an English question from what was said before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from memos_ray.core.reader.times import Granularity, resolve_times
from memos_ray.core.reader.turns.candidates import (
    Heard,
    Said,
    groups,
    people,
    places,
    things,
)
from memos_ray.core.reader.turns.dialogue import Decision, Moment, Slot
from memos_ray.core.reader.turns.english_binding import (
    FEMININE,
    MASCULINE,
    PLURAL,
    others_than,
    stands_empty,
)
from memos_ray.core.reader.turns.english_words import AUXILIARIES, PREPOSITIONS
from memos_ray.core.reader.turns.phrases import Phrase

_PRONOUN = re.compile(
    r"(?<![\w'\u2019-])(?P<word>he|him|his|she|hers|her|they|them|their|theirs|its|it|there|then|"
    r"that|this)(?P<short>['\u2019](?:s|d|ll|re|ve))?(?![\w-]|['\u2019]\w)",
    re.I,
)
_MOST = 8
_UNSURE = frozenset("a an this that these those which what whose".split())
_KNOWN_BY = frozenset("the my your his her its our their".split())
_COUNTING = frozenset("two three four five six seven eight nine ten twelve".split())
_MOST_CHARS = 80
_SELF = frozenset({"his", "hers", "her", "its", "their", "theirs"})
# After "her" these do not begin what is hers.
_NOT_OWNED = (
    PREPOSITIONS
    | AUXILIARIES
    | frozenset(
        """and or but so when where why how what which who that then there here yesterday today
        tomorrow tonight now last next again too also back away the a an this to if because
        every once twice""".split()
    )
)
_GOING = re.compile(
    r"\b(?:go|goes|going|gone|went|get|gets|got|move|moves|moved|moving|travel|travels|travelled|"
    r"traveled|fly|flies|flew|drive|drives|drove|sail|come|came|walk|walked|return|returned|"
    r"arrive)\s*$",
    re.I,
)
_OPENS_THERE = re.compile(
    r"^\s*['\u2019]?(?:s|is|are|was|were|re|will be|has been|have been)\b", re.I
)
# "Where is it?" asks for a thing, "when was that?" for what was spoken of.
_EVENT = re.compile(
    r"^(?P<wh>when|where|why|how)\s+(?:(?:did|does|had)\s+(?:that|this|it|all that)\s+"
    r"(?:happen(?:ed)?|go|gone|take place|come about|end|begin|start)|was\s+(?:that|this))\s*\??$",
    re.I,
)
_THAT_ENDS = re.compile(r"^\s*(?:\?|$|[.!])")
_THAT_SUBJECT = re.compile(
    r"^\s+(?:(?:from|in|on|at|for|to|about|by|like|with)\b"
    r"|[\w'\u2019-]+(?:\s*[?.!]|$|\s+(?:in|at|on|by|for|to|from|with|again|so)\b))"
)
# "When did that happen: the boat sank" tells what.
_TOLD = re.compile(r"\s*(?:happen(?:ed)?|go|gone|take place|come about|end|begin|start)?\s*:", re.I)
_INVERTED = re.compile(r"\b(?:did|does|do|was|is|has|had|will|would|can|could)\s+$", re.I)


def fill_pronouns(
    question: str, heard: Heard, moment: Moment, avoid: frozenset[str] = frozenset()
) -> tuple[str, list[Decision]]:
    """Replaces pronouns from left to right, each once.

    Args:
        avoid: what they cannot stand for, in lower case: in "and her?" it is somebody else.
    """
    decisions: list[Decision] = []
    done, last = "", 0
    for match in _PRONOUN.finditer(question):
        if len(decisions) >= _MOST:
            break
        done += question[last : match.start()]
        last = match.end()
        after = question[match.end() :]
        found = _fill((match["word"], match["short"] or ""), done, after, heard, moment, avoid)
        if found is None:
            done += match[0]
            continue
        new, decision = found
        decisions.append(decision)
        done += match[0] if new is None else _capital(match["word"], new) + (match["short"] or "")
    return done + question[last:], decisions


def _fill(
    written: tuple[str, str],
    before: str,
    after: str,
    heard: Heard,
    moment: Moment,
    avoid: frozenset[str],
) -> tuple[str | None, Decision] | None:
    word, short = written
    low = word.lower()
    if low == "there":
        return _place(word, before, after, heard)
    if low == "then":
        return _time(word, before, after, heard, moment)
    if low in {"that", "this", "it"} and _TOLD.match(after):
        return None
    if low in {"that", "this"} and not _stands_for_something(before, after):
        return None
    begin = len(before)
    if low in {"it", "its"} and stands_empty(
        before + word + short + after, begin, begin + len(word)
    ):
        return None
    owns = (
        low in _SELF
        and low not in {"hers", "theirs"}
        and not (low == "her" and _next_word(after) in _NOT_OWNED)
    )
    taken = others_than(low, before, after, owns, heard.known)
    if taken is None:
        return None
    fits, slot = _kind(low)
    wanted = [
        one
        for one in _shortened(fits(heard))
        if one[0].text.casefold() not in taken | avoid
        and one[0].text.casefold() not in before.casefold()
    ]
    if not wanted:
        return None, Decision(slot, word, None, "nothing in the dialogue fits")
    phrase, said = wanted[0]
    rival = _rival(phrase, said, wanted[1:])
    if rival is not None:
        reason = f"ambiguous: {phrase.text} or {rival.text}"
        return None, Decision(slot, word, None, reason)
    meant = _definite(phrase)
    new = _possessive(meant) if owns or low in {"hers", "theirs"} else meant
    return new, Decision(slot, word, meant, f"{word}: {_when(said)}")


def _kind(low: str) -> tuple[Callable[[Heard], Iterator[tuple[Phrase, Said]]], Slot]:
    if low in MASCULINE:
        return lambda heard: people(heard, "m"), Slot.PERSON
    if low in FEMININE:
        return lambda heard: people(heard, "f"), Slot.PERSON
    return (groups, Slot.GROUP) if low in PLURAL else (things, Slot.THING)


def _shortened(found: Iterator[tuple[Phrase, Said]]) -> Iterator[tuple[Phrase, Said]]:
    seen = 0
    for one in found:
        if len(one[0].text) <= _MOST_CHARS:
            yield one
            seen += 1
        if seen >= _MOST:
            return


def _rival(phrase: Phrase, said: Said, others: list[tuple[Phrase, Said]]) -> Phrase | None:
    """Returns somebody named beside a phrase ("Ann and Bo") who fits just as well."""
    for other, where in others:
        if where is not said or other.text == phrase.text or phrase.gender or other.gender:
            continue
        first, second = sorted((phrase, other), key=lambda one: one.begin)
        if said.text[first.end : second.begin].strip() in {"and", "or", "&", ","}:
            return other
    return None


def _definite(phrase: Phrase) -> str:
    first, _, rest = phrase.text.partition(" ")
    low = first.lower()
    if phrase.name or low in _KNOWN_BY:
        return phrase.text if phrase.name else low + phrase.text[len(first) :]
    if low in _UNSURE and rest:
        return f"the {rest}"
    if low in _COUNTING and rest:
        return f"the {low} {rest}"
    return phrase.text if "\u2019s" in first or "'s" in first else _with_article(phrase)


def _with_article(phrase: Phrase) -> str:
    return f"the {phrase.text}" if phrase.plural and phrase.text.islower() else phrase.text


def _possessive(text: str) -> str:
    if text.lower() in {"i", "me"}:
        return "my"
    return f"{text}'" if text.endswith("s") and text[:1].islower() else f"{text}'s"


def _capital(word: str, new: str) -> str:
    return new[:1].upper() + new[1:] if word[:1].isupper() else new


def _next_word(after: str) -> str:
    match = re.match(r"\s*([A-Za-z'\u2019-]+)", after)
    return match[1].lower() if match else "to"


def _when(said: Said) -> str:
    who = "the question" if said.turn.asked else "the answer"
    return f"{who} {said.back} back" if said.back > 1 else f"{who} before"


def _stands_for_something(before: str, after: str) -> bool:
    """Whether "that" is a pronoun: "what did that cost", "who told you about that"."""
    if _THAT_ENDS.match(after):
        return bool(before.strip())
    return bool(_INVERTED.search(before) and _THAT_SUBJECT.match(after))


def is_about_an_event(question: str) -> str | None:
    """Returns the asking word of "when did that happen?", else None."""
    match = _EVENT.match(question.strip())
    return match["wh"] if match else None


def _place(word: str, before: str, after: str, heard: Heard) -> tuple[str | None, Decision] | None:
    if _OPENS_THERE.match(after) or re.search(
        r"\b(?:is|are|was|were|be|been|isn['\u2019]t|aren['\u2019]t)\s+$", before, re.I
    ):
        # "Is there a rat?" asks for no place; "Who was there?" does.
        if not _THAT_ENDS.match(after):
            return None
    if (
        re.search(r"\b(?:out|over|up|down|in|hello|hi|hey)\s+$", before, re.I)
        and not before.strip()
    ):
        return None
    found = next(_shortened(places(heard)), None)
    if found is None:
        return None, Decision(Slot.PLACE, word, None, "no place was named")
    phrase, said = found
    if phrase.text.casefold() in before.casefold():
        return None
    meant = _definite(phrase)
    if re.search(r"\b(?:from|near|in|at|to|around|of)\s+$", before, re.I):
        new = meant
    elif _GOING.search(before):
        new = f"to {meant}"
    else:
        at = re.search(r"\b(in|at|on|near)\s+(?:the\s+)?$", said.text[: phrase.begin], re.I)
        new = f"{at[1].lower() if at else 'in'} {meant}"
    return new, Decision(Slot.PLACE, word, meant, f"{word}: {_when(said)}")


def _time(
    word: str, before: str, after: str, heard: Heard, moment: Moment
) -> tuple[str | None, Decision] | None:
    if (
        not _THAT_ENDS.match(after)
        or not before.strip(" ,")
        or (
            before.rstrip().endswith(
                ("and", "what", "And", "What", "so", "So", "since", "by", "until", "till", "before")
            )
            and not re.search(r"\b(?:since|by|until|till|before)\s+$", before)
        )
    ):
        return None
    found = last_time(heard, moment)
    if found is None:
        return None, Decision(Slot.TIME, word, None, "no time was named")
    words, said = found
    bare = re.sub(r"^(?:in|on|at|during)\s+", "", words)
    new = bare if re.search(r"\b(?:since|by|until|till|before)\s+$", before) else words
    return new, Decision(Slot.TIME, word, words, f"{word}: {_when(said)}")


def last_time(heard: Heard, moment: Moment) -> tuple[str, Said] | None:
    """Returns the time that was named last, with its preposition."""
    for said in heard.back():
        times = resolve_times(said.text, moment.now, tz=moment.tz, language="en")
        if times:
            return with_preposition(said.text, times[-1].text, times[-1].granularity), said
    return None


_TIME_PREPOSITION = re.compile(
    r"\b(in|on|at|during|since|before|after|until|till|by|around|from)\s+(?:the\s+|early\s+|late\s+)?$",
    re.I,
)
_NONE_NEEDED = re.compile(
    r"^(?:last|this|next|yesterday|today|tomorrow|tonight|\w+ \w+ ago|now)\b|ago$", re.I
)
_DAYS = frozenset({Granularity.DAY, Granularity.WEEKEND})


def with_preposition(text: str, words: str, granularity: Granularity) -> str:
    """Returns a time as an adverb: "in March", "on 8 May", "last week"."""
    if _NONE_NEEDED.search(words):
        return words
    begin = text.find(words)
    before = _TIME_PREPOSITION.search(text, max(0, begin - 20), begin) if begin > 0 else None
    if before is not None:
        return text[before.start()].lower() + text[before.start() + 1 : begin] + words
    if re.match(r"(?:in|on|at|during|since|before|after|until|between|from)\b", words, re.I):
        return words
    return f"{'on' if granularity in _DAYS else 'in'} {words}"
