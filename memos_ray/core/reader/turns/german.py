"""One pass over a German question: fragments, "er" and "sie", "dort" and "damals"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_ray.core.reader.turns.candidates import Heard
from memos_ray.core.reader.turns.dialogue import Decision, Moment, Slot

_GERMAN = re.compile(
    r"\b(?:und|was|wer|wen|wem|wann|wo|wohin|warum|wieso|weshalb|wie|welche[rsnm]?|hat|ist|war|wird|"
    r"hatte|der|die|das|den|dem|ein|eine|einen|er|sie|ihn|ihm|ihr|ihre|sein|seine|dort|damals|mit|von|"
    r"im|am|nicht|auch|viel|viele|lange)\b",
    re.I,
)
_ENGLISH = re.compile(
    r"\b(?:what|when|where|who|which|why|how|the|is|are|did|does|do|and|of|in|on|about|his|her|it)\b",
    re.I,
)
_LEANS = re.compile(
    r"\b(?:er|sie|ihn|ihm|ihr|sein|seine[rnms]?|ihre[rnms]?|dort|damals|da)\b"
    r"|^\W*(?:und|aber|oder)\b|\bwas ist mit\b",
    re.I,
)
_SHORT_WORDS = 4
_BARE = re.compile(
    r"^(?:und\s+)?(?P<wh>warum|wieso|weshalb|wann|wo|wohin|wer|wie|wie (?:viel|lange|oft|teuer)|"
    r"mit wem|seit wann|was noch|wer noch)(?:\s+(?:genau|denn|eigentlich))?\s*[?.!]*$",
    re.I,
)
_ABOUT = re.compile(r"^(?:und\s+)?(?:was ist mit|wie ist es mit)\s+(?P<x>.{1,60}?)\s*\?*$", re.I)
_AND = re.compile(r"^und\s+(?P<x>.{1,60}?)\s*\?+$", re.I)
_FINITE = (
    r"hat|hatte|ist|war|wird|wurde|kann|konnte|will|wollte|soll|sollte|muss|musste|darf|haben|sind|waren|"
    r"[a-zäöü]{2,}(?:te|t)"
)
# A name needs no article; other nouns in the singular do.
_NAME = re.compile(
    rf"(?:\b(?:{_FINITE})\s+(?:sich\s+|denn\s+|eigentlich\s+)?|^|(?<=[.!?]\s))(?P<name>(?:(?:Frau|Herr|Dr\.?)\s)?[A-ZÄÖÜ][\wäöüß-]+)"
    rf"(?=\s+(?:{_FINITE}|[a-zäöü]|[A-ZÄÖÜ])|\s*[?.,!])"
)
_NO_NAME = frozenset(
    """was wer wen wem wann wo wohin warum wieso weshalb wie welche welcher welches und aber oder ja
    nein am im in auf der die das den dem ein eine er sie es ihr wir ich du nach vor seit bei mit
    zu von für danke montag dienstag mittwoch donnerstag freitag samstag sonntag januar februar märz
    april mai juni juli august september oktober november dezember ende anfang""".split()
)
_PLACE = re.compile(
    r"\b(?P<prep>[Ii]n|[Nn]ach|[Aa]us|[Bb]ei)\s+(?P<place>[A-ZÄÖÜ][\wäöüß-]+(?:\s[A-ZÄÖÜ][\wäöüß-]+)?)"
)
_TIME = re.compile(
    r"\b(?:im|am|seit|vor|nach|letzten|letzte[sr]?|vorigen|nächsten|nächste[sr]?)\s+(?:\d{1,2}\.\s*)?"
    r"(?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|Montag|"
    r"Dienstag|Mittwoch|Donnerstag|Freitag|Samstag|Sonntag|Woche|Monat|Jahr|Sommer|Winter|Herbst|"
    r"Frühling|Wochenende)(?:\s+\d{4})?|\b(?:gestern|heute|morgen|vorgestern)\b",
)
_PRONOUN = re.compile(r"(?<!\w)(?P<word>er|ihn|ihm|sie|dort|damals)(?!\w)")
_SUBJECT_VERB = re.compile(r"^\s*\w*(?:en|sind)\b")
_MEN_KIN = re.compile(r"\b(?:Vater|Bruder|Sohn|Mann|Freund|Onkel|Opa|Neffe|Herr)\b")
_ENDS = re.compile(r"\s*[?!.]*\s*$")


def is_german(question: str) -> bool:
    """Tells German from English, by their small words."""
    german = len(_GERMAN.findall(question))
    return german > 0 and german > len(_ENGLISH.findall(question))


def leans(question: str) -> bool:
    """Tells whether a question may lean on what was said before."""
    return _LEANS.search(question) is not None or len(question.split()) <= _SHORT_WORDS


def rewrite_once(
    question: str, base: str | None, heard: Heard, moment: Moment
) -> tuple[str, list[Decision]]:
    """Fills what one pass can fill."""
    text, decisions = _fill(question, heard)
    if base is None:
        return text, decisions
    answer = heard.turns[-1].text if heard.turns and not heard.turns[-1].asked else ""
    found = _complete(text, base, answer)
    if found is not None:
        text, decision = found
        decisions.append(decision)
    return text, decisions


def _fill(question: str, heard: Heard) -> tuple[str, list[Decision]]:
    decisions: list[Decision] = []
    done, last = "", 0
    for match in _PRONOUN.finditer(question):
        done += question[last : match.start()]
        last = match.end()
        word = match["word"]
        slot, meant = _meant(word, done, question[match.end() :], heard)
        if meant is not None:
            decisions.append(Decision(slot, word, meant, f"{word}: named before"))
        elif slot is not Slot.TOPIC:
            decisions.append(Decision(slot, word, None, "nothing in the dialogue fits"))
        done += meant or word
    return done + question[last:], decisions


def _meant(word: str, before: str, after: str, heard: Heard) -> tuple[Slot, str | None]:
    if word == "dort":
        found = next((one for text in _texts(heard) for one in _PLACE.finditer(text)), None)
        if found is None:
            return Slot.PLACE, None
        return Slot.PLACE, f"{'bei' if found['prep'] == 'bei' else 'in'} {found['place']}"
    if word == "damals":
        time = next((one[0] for text in _texts(heard) for one in _TIME.finditer(text)), None)
        return Slot.TIME, time
    if list(_names(before)) or (word == "sie" and _SUBJECT_VERB.match(after)):
        # Named in the question itself; or "they".
        return Slot.TOPIC, None
    return Slot.PERSON, next((name for text in _asked_first(heard) for name in _names(text)), None)


def _texts(heard: Heard) -> Iterator[str]:
    return (turn.text for turn in reversed(heard.turns))


def _asked_first(heard: Heard) -> Iterator[str]:
    turns = list(heard.turns)
    who = any(re.search(r"\bwer\b|\bwem\b|\bwen\b", turn.text, re.I) for turn in turns[-2:])
    answers: list[str] = []
    for turn in reversed(turns):
        if not turn.asked:
            answers.append(turn.text)
            continue
        yield from [*answers, turn.text] if who else [turn.text, *answers]
        answers = []
    yield from answers


def _names(text: str) -> Iterator[str]:
    for match in _NAME.finditer(text):
        if match["name"].casefold() not in _NO_NAME:
            yield match["name"]


def _complete(question: str, base: str, answer: str) -> tuple[str, Decision] | None:
    core = question.strip()
    bare = _BARE.match(core)
    if bare is not None:
        wh = bare["wh"][:1].upper() + bare["wh"][1:].lower()
        text = _asked_otherwise(wh, base, answer)
        if text == base:
            return None
        return text, Decision(Slot.QUESTION, core, base, f"{wh.lower()}, asked of it")
    about = _ABOUT.match(core) or _AND.match(core)
    if about is None or re.search(rf"\b(?:{_FINITE})\b", about["x"]):
        return None
    x = about["x"]
    if x.casefold() in base.casefold() or re.match(r"(?:was|wer|wann|wo|warum|wie)\b", x, re.I):
        return None
    for slot, pattern, new in (
        (Slot.TIME, _TIME, _TIME.fullmatch(x) is not None),
        (Slot.PLACE, _PLACE, _PLACE.fullmatch(x) is not None),
    ):
        if not new:
            continue
        old = pattern.search(base)
        if old is None:
            return f"{_ENDS.sub('', base)} {x}?", Decision(slot, core, x, "new")
        text = base[: old.start()] + x + base[old.end() :]
        return text, Decision(slot, core, x, f"in place of {old[0]}")
    name = next(iter(_names(base)), None)
    if name is not None and re.fullmatch(r"[A-ZÄÖÜ][\wäöüß-]+", x):
        text = base.replace(name, x, 1)
        return text, Decision(Slot.PERSON, core, text, f"in place of {name}")
    return f"{x[:1].upper()}{x[1:]}: {base}", Decision(
        Slot.TOPIC, core, base, "nothing of its kind"
    )


def _asked_otherwise(wh: str, base: str, answer: str) -> str:
    body = _ENDS.sub("", base)
    asks = re.match(
        r"(?:mit |seit )?(?:warum|wieso|weshalb|wann|wohin|wo|wie (?:viel|viele|lange|oft)|wie|was|"
        r"wen|wem)\b",
        body,
        re.I,
    )
    told = _ENDS.sub("", answer).strip()
    if re.match(r"(?:was|wen)\b", body, re.I) and 0 < len(told.split()) <= _SHORT_WORDS + 1:
        # "Was trinkt sie?" "Tee." "Warum?" asks about the tea.
        body = f"{body} {told}"
    if asks is not None:
        return f"{wh}{body[asks.end() :]}?"
    if re.match(rf"(?:{_FINITE})\b", body, re.I):
        return f"{wh} {body[:1].lower()}{body[1:]}?"
    return f"{wh}: {body}?"
