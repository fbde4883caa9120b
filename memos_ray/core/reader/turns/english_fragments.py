"""Completes English fragments from the question before: "and in March?", "why?"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from memos_ray.core.reader.times import TimeMention, resolve_times
from memos_ray.core.reader.turns.candidates import Heard, Known
from memos_ray.core.reader.turns.dialogue import Decision, Moment, Slot
from memos_ray.core.reader.turns.english_binding import stands_empty
from memos_ray.core.reader.turns.english_pronouns import (
    is_about_an_event,
    with_preposition,
)
from memos_ray.core.reader.turns.english_words import (
    AUXILIARIES,
    FEMALE_NAMES,
    MALE_NAMES,
    PREPOSITIONS,
    TIME_NOUNS,
)
from memos_ray.core.reader.turns.phrases import Phrase, phrases

LEAD = re.compile(
    r"^\s*(?:(?:thanks|thank you|ok|okay|great|nice|cool|i see|got it|right|sure|alright|good|"
    r"interesting|hm+|oh|ah|well)\b(?:\s+(?:a lot|so much))?[\s,.!;:-]+)*",
    re.I,
)
MARKER = re.compile(r"^(?:and|but|or|so|also|then)\b\s*,?\s*(?:also\s+|then\s+)?", re.I)
_WH = (
    r"why not|how come|how (?:much|many|long|often|far|old|big|fast|soon|exactly)|"
    r"(?:since|until|till) when|for how long|what for|who with|with who(?:m)?|for who(?:m)?|"
    r"to who(?:m)?|from who(?:m)?|by who(?:m)?|where to|where from|from where|to where|"
    r"(?:at |on |in )?(?:what|which) (?:time|day|date|month|year|place|city|town|country)|"
    r"(?:what|who|where|when|anything|anyone|anybody|anywhere) else|"
    r"why|when|where|how|who|whom|which one"
)
_BARE = re.compile(
    rf"^(?P<wh>{_WH})(?:\s*,?\s+(?:exactly|then|again|though|so|precisely))?\s*[?!.]*$",
    re.I,
)
_ABOUT = re.compile(r"^(?:what|how) about\s+(?P<x>.{1,80}?)\s*[?!.]*$", re.I)
_SAME_OF = re.compile(
    r"^(?:did|does|do|is|was|were|are|has|have|had|will|would|can|could)\s+(?P<x>.{1,60}?)"
    r"(?:,?\s+(?:too|also|as well|either))?\s*\?+$",
    re.I,
)
_LEFT = re.compile(r"^(?P<x>.{1,70}?)(?:,?\s+(?:too|as well|then))?\s*[?!.]*$")
_STATED = {
    "why not": "Why",
    "how come": "Why",
    "what for": "Why",
    "who with": "With whom",
    "where to": "To where",
    "where from": "From where",
    "how exactly": "How",
}
_ELSE = {
    "anything else": "What else",
    "anyone else": "Who else",
    "anybody else": "Who else",
    "anywhere else": "Where else",
}
_ASKING = re.compile(
    r"^(?:(?:with|for|from|to|by|at|in|on|about|of|since|until)\s+)?"
    r"(?P<wh>what|which|who|whom|whose|when|where|why|how)\b",
    re.I,
)
_NEGATED = {
    "did": "didn't",
    "does": "doesn't",
    "do": "don't",
    "is": "isn't",
    "was": "wasn't",
    "were": "weren't",
    "are": "aren't",
    "has": "hasn't",
    "have": "haven't",
    "had": "hadn't",
    "will": "won't",
    "would": "wouldn't",
    "can": "can't",
    "could": "couldn't",
}
_NO = re.compile(r"^\s*(?:no|nope|not|never)\b", re.I)
_ENDS = re.compile(r"\s*[?!.]*\s*$")
_FRAGMENT_WORDS = 7
_LONGEST_TOLD = 160
VERBAL = AUXILIARIES | frozenset(
    "what which who whom whose when where why how please tell show list find give remember".split()
)
# Whom nothing in the dialogue explains.
_PRONOUNS = frozenset(
    """i you he him his she her hers it its we us they them their theirs that this there then
    me""".split()
)
# Of what, only the question before says.
_OF_WHAT = re.compile(
    r"^(?:what|who|how|which)(?: else)? (?:happened|went wrong|went well|changed|won|lost|followed|"
    r"was (?:said|decided|the (?:result|reason|matter|point|price|outcome))|came out)"
    r"(?: (?:then|next|after that|in the end))?\W*$",
    re.I,
)
_ONE_MORE = re.compile(
    r"the (?P<which>first|second|third|fourth|last|next|new|old|other) one", re.I
)
_ORDINAL = re.compile(r"\b(?:first|second|third|fourth|last|next|new|old)\b", re.I)
_DOES_WHAT = re.compile(
    r"^what (?:do|does|did|has|have|had|is|are|was|were|will|would)\b.*"
    r"\b(?:do|doing|done|happen|happened)\b",
    re.I,
)
_TIMELY = frozenset("last this next early late two three four five six seven".split()) | TIME_NOUNS
_GREETINGS = frozenset(
    """yes no ok okay thanks bye hello hi hey please sure really great nice cool wow sorry never
    mind""".split()
)


def complete(
    question: str, base: str, heard: Heard, moment: Moment
) -> tuple[str, list[Decision]] | None:
    """Completes a fragment; None: the question is none.

    Args:
        base: the question before, as it can be understood alone.
    """
    core = LEAD.sub("", question).strip()
    marker = MARKER.match(core)
    rest = core[marker.end() :].strip() if marker else core
    if stands_empty(rest):
        return None
    bare = _BARE.match(rest)
    event = is_about_an_event(rest)
    if bare is not None or event is not None:
        asking = bare["wh"] if bare else (event or "")
        return _asked_otherwise(question, asking, base, heard)
    if _OF_WHAT.match(rest):
        text = f"{_ENDS.sub('', rest)}: {base}"
        return text, [Decision(Slot.TOPIC, question.strip(), base, "of the question before")]
    about = _named_about(rest) or _same_of(rest) or _left(rest, marker is not None, core)
    if about is None:
        return None
    found = _replaced(base, about.strip(), heard.known, moment)
    if found is None:
        return None
    text, slot, words, reason = found
    return text, [Decision(slot, question.strip(), words, reason)]


def is_event_or_bare(question: str) -> bool:
    """Tells "why?" and "when did that happen?", whose pronouns stand for the question before."""
    core = LEAD.sub("", question).strip()
    rest = MARKER.sub("", core).strip()
    return _BARE.match(rest) is not None or is_about_an_event(rest) is not None


def statement(question: str, heard: Heard) -> tuple[str, list[Decision]] | None:
    """Completes "why?" and "when did that happen?" from what was stated, not asked, before."""
    core = LEAD.sub("", question).strip()
    marker = MARKER.match(core)
    rest = core[marker.end() :].strip() if marker else core
    bare = _BARE.match(rest)
    if (bare is None or "else" in rest.lower()) and is_about_an_event(rest) is None:
        return None
    said = next(heard.back(), None)
    if said is None:
        return None
    first = re.split(r"(?<=[.!?])\s", said.text.strip(), maxsplit=1)[0][:200].rstrip(".!? ")
    if len(first) < 8:
        return None
    asking = _ENDS.sub("", rest)
    text = f"{asking[:1].upper()}{asking[1:]}: {first}?"
    return text, [Decision(Slot.QUESTION, question.strip(), first, "what was said before")]


def _named_about(rest: str) -> str | None:
    match = _ABOUT.match(rest)
    return None if match is None or match["x"].lower() in _PRONOUNS else match["x"]


def _same_of(rest: str) -> str | None:
    match = _SAME_OF.match(rest)
    if match is None:
        return None
    named = any(
        one.begin == 0 and one.end == len(match["x"]) and (one.name or one.person)
        for one in phrases(match["x"])
    ) or re.fullmatch(r"(?-i:[A-Z])[\w'\u2019-]+", match["x"])
    return match["x"] if named else None


def _left(rest: str, marked: bool, core: str) -> str | None:
    """Returns what a fragment without a verb names; unmarked, only after a preposition."""
    match = _LEFT.match(rest)
    if match is None or not (marked or core.endswith("?")):
        return None
    words = [word.lower().strip("'\u2019,") for word in match["x"].split()]
    if not words or len(words) > _FRAGMENT_WORDS or ":" in rest:
        return None
    if any(word in VERBAL or word in _GREETINGS or word in _PRONOUNS for word in words):
        return None
    if not marked and words[0] not in PREPOSITIONS:
        return None
    return match["x"] if _is_fragment(match["x"], words) else None


def _is_fragment(x: str, words: list[str]) -> bool:
    """Whether it only names something, and says nothing of it: "Bob", not "Bob likes tea"."""
    if len(words) == 1 or words[0] in PREPOSITIONS or words[0] in _TIMELY:
        return True
    if _ONE_MORE.fullmatch(x):
        return True
    return any(one.begin == 0 and one.end == len(x) for one in phrases(x))


def _replaced(base: str, x: str, known: Known, moment: Moment) -> tuple[str, Slot, str, str] | None:
    """Puts a fragment where its like stands in the question before."""
    x = x.strip().rstrip("?.! ")
    if not x or x.casefold() in base.casefold():
        return None
    x_times = resolve_times(x, moment.now, tz=moment.tz, language="en")
    if x_times and len(x_times[0].text) >= len(x) - len("throughout the "):
        return _with_time(base, x, x_times[0], moment)
    first, _, rest = x.partition(" ")
    named = phrases(base)
    if first.lower() in PREPOSITIONS and rest:
        return _with_preposition(base, first.lower(), x, rest, named)
    mine = next((one for one in phrases(x) if one.begin == 0 and one.end == len(x)), None)
    old = _like(x, mine, named)
    if old is None:
        return f"{x[:1].upper()}{x[1:]}: {base}", Slot.TOPIC, base, "nothing of its kind before"
    new = _kept_owner(old, x, named, base)
    text = base[: old.begin] + new + base[old.end :]
    slot = (
        Slot.PERSON
        if old.person or (old.name and not old.place)
        else (Slot.PLACE if old.place else Slot.THING)
    )
    return _tidy(text), slot, text, f"in place of {old.text}"


def _like(x: str, mine: Phrase | None, named: tuple[Phrase, ...]) -> Phrase | None:
    singles = [one for one in named if not (one.plural and one.name)]
    low = x.casefold().split()[0]
    known_person = low in FEMALE_NAMES or low in MALE_NAMES or bool(mine and mine.person)
    name = x[:1].isupper() or known_person
    if name:
        people = [one for one in singles if one.person or (one.name and one.person is None)]
        people = [one for one in people if not one.place] or ([] if known_person else people)
        subjects = [one for one in people if one.subject]
        found = next(iter(subjects or people), None)
        if found is not None or known_person:
            return found
        return next((one for one in singles if one.name or one.place), None)
    others = [one for one in singles if not one.person and not one.name]
    if mine is not None and mine.plural:
        others = [one for one in others if one.plural] or others
    return others[-1] if others else None


def _kept_owner(old: Phrase, x: str, named: tuple[Phrase, ...], base: str) -> str:
    """Makes "Ann's boat" of "the boat" in the place of "Ann's car"."""
    more = _ONE_MORE.fullmatch(x)
    if more is not None and _ORDINAL.search(old.text):
        return _ORDINAL.sub(more["which"].lower(), old.text, count=1)
    if old.name or x[:1].isupper():
        return x
    owner = next(
        (one for one in named if one.name and one.begin == old.begin and one.end < old.end), None
    )
    if owner is None:
        return x
    noun = re.sub(r"^(?:the|a|an)\s+", "", x, flags=re.I)
    return f"{base[owner.begin : owner.end]}'s {noun}"


def _with_time(base: str, x: str, time: TimeMention, moment: Moment) -> tuple[str, Slot, str, str]:
    old = resolve_times(base, moment.now, tz=moment.tz, language="en")
    words = (
        x if x.lower() != time.text.lower() else with_preposition(x, time.text, time.granularity)
    )
    if not old:
        return appended(base, words), Slot.TIME, words, "the time is new"
    adverb = with_preposition(base, old[-1].text, old[-1].granularity)
    whole = adverb if adverb in base else old[-1].text
    text = base.replace(whole, words, 1)
    return _tidy(text), Slot.TIME, words, f"in place of {whole}"


def _with_preposition(
    base: str, preposition: str, x: str, rest: str, named: tuple[Phrase, ...]
) -> tuple[str, Slot, str, str]:
    others = [one for one in named if (one.person or one.name) and not one.place]
    if preposition in {"to", "for", "with"} and len(others) > 1 and not phrases(rest)[:1] == ():
        old = others[-1]
        before = re.search(r"\b(?:to|for|with)\s+$", base[: old.begin])
        text = base[: before.start() if before else old.begin] + x + base[old.end :]
        return _tidy(text), Slot.PERSON, x, f"in place of {old.text}"
    for one in reversed(named):
        before = re.search(r"\b([A-Za-z]+)\s+$", base[: one.begin])
        if before is None:
            continue
        same = before[1].lower() == preposition
        if same or (one.place and preposition in {"in", "at", "on", "near", "from", "to"}):
            begin = before.start()
            text = base[:begin] + x + base[one.end :]
            slot = Slot.PLACE if one.place else Slot.TOPIC
            return _tidy(text), slot, x, f"in place of {base[begin : one.end]}"
    return appended(base, x), Slot.TOPIC, x, "added to the question before"


def appended(base: str, words: str) -> str:
    """Adds words to a question, before its mark."""
    return f"{_ENDS.sub('', base)} {words}?"


def _tidy(text: str) -> str:
    return re.sub(r"\s+([?.,!])", r"\1", re.sub(r"\s{2,}", " ", text)).strip()


def _asked_otherwise(
    question: str, asking: str, base: str, heard: Heard
) -> tuple[str, list[Decision]] | None:
    low = asking.lower()
    wh = _ELSE.get(low) or _STATED.get(low) or asking[:1].upper() + asking[1:].lower()
    text = _with_asking(wh, base, heard, negated=low == "why not")
    if text is None or text == base:
        return None
    return text, [Decision(Slot.QUESTION, question.strip(), base, f"{wh.lower()}, asked of it")]


def _with_asking(wh: str, base: str, heard: Heard, *, negated: bool) -> str | None:
    body = _ENDS.sub("", base)
    answer = next(heard.back(), None)
    answered = answer if answer is not None and not answer.turn.asked else None
    tokens = list(re.finditer(r"[\w'\u2019-]+", body))
    if not tokens:
        return None
    asks = _ASKING.match(body)
    if asks is None:
        if tokens[0][0].lower() not in AUXILIARIES:
            return f"{wh}: {body}?"
        aux, rest = tokens[0], body[tokens[0].end() :]
        no = negated or (wh == "Why" and answered is not None and _NO.match(answered.text))
        verb = aux[0].lower()
        return f"{wh} {_NEGATED.get(verb, verb) if no else verb}{rest}?"
    aux_at = next((one for one in tokens[1:6] if one[0].lower() in AUXILIARIES), None)
    old = asks["wh"].lower()
    direct = body[asks.end() :].split()[:1]
    subject = old in {"who", "what", "which", "whose"} and (
        aux_at is None or (bool(direct) and old == "who" and direct[0].lower() not in AUXILIARIES)
    )
    if subject:
        agent = _new_phrase(answered.phrases, base) if answered else None
        who = agent.text if agent else "somebody" if old == "who" else "something"
        return f"{wh} was it that {who}{body[asks.end() :]}?"
    if aux_at is None:
        return f"{wh}: {body}?"
    if _DOES_WHAT.match(body) and answered is not None and len(answered.text.split()) > 2:
        # "What did Ann do?" "She taught." "For how long?" asks about the teaching.
        told = re.split(r"(?<=[.!?])\s", answered.text.strip(), maxsplit=1)[0]
        return f"{wh}: {_ENDS.sub('', told)}?" if len(told) <= _LONGEST_TOLD else None
    predicate = body[aux_at.start() :]
    if wh.split()[0].lower() == old and wh.lower() != old:
        return f"{wh} {predicate}?"
    if old in {"what", "which", "who", "whom"}:
        thing = _new_phrase(answered.phrases, base) if answered else None
        if thing is not None:
            words = thing.text if thing.name else thing.text[:1].lower() + thing.text[1:]
            predicate = f"{predicate} {words}"
    return f"{wh} {predicate}?"


def _new_phrase(found: Iterable[Phrase], base: str) -> Phrase | None:
    return next((one for one in found if one.text.casefold() not in base.casefold()), None)
