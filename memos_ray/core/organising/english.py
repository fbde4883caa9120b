"""English statements."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memos_ray.core.organising.slots import CUES, RELATIONSHIP, RESIDENCE, STATUS, WORK, Filled

_NAME = r"[A-Z][\w-]*(?:\s[A-Z][\w-]*)?"
_SUBJECT = rf"(?P<subject>\bI\b|\b[Mm]y\s+\w+|\b[Tt]he\s+\w+(?:\s\w+)?|\b{_NAME})"
# What is asked, wished, planned, denied or past says nothing about now.
_NOT_NOW = re.compile(
    r"\b(?:not|never|used to|might|(?-i:may)|maybe|perhaps|would|could|should|if|wish|hope|hoping|"
    r"want(?:s|ed)?|plan(?:s|ned|ning)?|going to|will|think(?:ing)? (?:of|about)|consider\w*|"
    r"almost|nearly|before|formerly|imagine|pretend)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_THING = (
    r"(?P<value>(?!(?:how|that|this|it|the way|you|your|when|what|to|him|her|them|me)\b)"
    r"[\w-]+(?: [\w-]+){0,2}?)"
)
_LIKES_NO_MORE = re.compile(
    rf"{_SUBJECT}\s+(?:no longer (?:like|love|enjoy)s?|(?:do|does)(?: not|n['\u2019]t) "
    r"(?:like|love|enjoy)|hates?|can['\u2019]t stand|cannot stand|dislikes?)\s+"
    rf"{_THING}(?P<more> any ?more| now)?\s*(?:[,.!]|$|\b(?:because|since|but)\b)"
)
_LIKES = re.compile(
    rf"{_SUBJECT}\s+(?:now |really |still )?(?:like|love|enjoy|adore)s?\s+"
    rf"{_THING}(?P<more> now)?\s*(?:[,.!]|$|\b(?:because|since|but)\b)"
)
_END = (
    r"(?=\s*(?:[,.!()\u2014]|$|\b(?:now|these days|with|since|because|and|but|for|last|this|"
    r"next|in \d+|on|again|already|as|so|where|which|who|when|a (?:week|month|year)|\w+ ago)\b))"
)
_VALUE = rf"(?P<value>[\w][\w '\u2019&/:%+-]{{0,60}}?){_END}"
_ADVERB = r"(?:\s+(?P<now>now|just|recently|currently|finally|already|still))?"
_LIVES = re.compile(
    rf"{_SUBJECT}{_ADVERB}\s+(?:(?:am|is|are)\s+(?:(?:now|currently)\s+)?(?:living|based)|lives?|"
    rf"resides?)\s+(?:in|at)\s+{_VALUE}"
)
_MOVED = re.compile(
    rf"{_SUBJECT}(?:['\u2019]ve|\s+have|\s+has)?{_ADVERB}\s+(?:moved|relocated)"
    rf"(?:\s+(?:back|away|house|out))?\s+(?:from\s+[\w ]{{2,40}}\s+)?to\s+{_VALUE}"
)
_WORKS = re.compile(
    rf"{_SUBJECT}{_ADVERB}\s+(?:(?:am|is)\s+(?:(?:now|currently)\s+)?working|works?)\s+"
    rf"(?:at|for)\s+{_VALUE}"
)
_JOINED = re.compile(
    rf"{_SUBJECT}(?:['\u2019]ve|\s+have|\s+has)?{_ADVERB}\s+"
    rf"(?:started (?:working|a (?:new )?job)|got a (?:new )?job)\s+(?:at|for|with)\s+{_VALUE}"
)
_RELATED = re.compile(
    rf"{_SUBJECT}(?:['\u2019]m|\s+am|\s+is|\s+(?:just\s+)?got)(?:\s+(?P<now>now|finally|still))?\s+"
    r"(?P<value>single|married|engaged|divorced|widowed)\b"
)
_FAVOURITE = re.compile(
    rf"(?:(?P<subject>\b[Mm]y|\b{_NAME}['\u2019]s)\s+(?P<now>new\s+)?)"
    rf"(?P<slot>favou?rite\s+\w+(?:\s\w+)?)\s+(?:is|are)(?:\s+(?P<then>now))?\s+{_VALUE}"
)
_NOUN = (
    r"(?:(?:phone|mobile|passport|account|flight|room|seat)\s+number|e-?mail(?:\s+address)?|"
    r"(?:home\s+|postal\s+)?address|birthday|password|budget|deadline|due date|price|version|"
    r"plan|diet|car|age|size|manager|boss|job|title|role|office|school|doctor|dentist|meeting|"
    r"appointment|flight|start date|launch|release|owner|location|venue|time zone|nickname)"
)
_ATTRIBUTE = re.compile(
    rf"(?:(?P<subject>\b[Mm]y|\b[Tt]he|\b[Oo]ur|\b{_NAME}['\u2019]s)\s+(?P<new>new\s+)?"
    rf"(?P<slot>{_NOUN})|\b[Tt]he\s+(?P<slot2>{_NOUN})\s+(?:of|for)\s+(?P<subject2>[\w ]{{2,40}}?))"
    r"\s+(?:(?P<then>is\s+now|has\s+been\s+(?:moved|changed|set|postponed)\s+to|"
    r"(?:was\s+|has\s+)?(?:moved|changed|switched|rescheduled|postponed)\s+to|is\s+no\s+longer\s+"
    rf"[\w ]{{1,30}}\s+but)|is(?:\s+on|\s+at)?)\s+{_VALUE}"
)
_STATUSES = (
    r"done|finished|complete[d]?|cancel+ed|postponed|delayed|on hold|in progress|approved|"
    r"rejected|open|closed|blocked|paused|shipped|live|active|inactive|archived|resolved"
)
_STATE = re.compile(
    rf"(?P<subject>\b[Tt]he\s+\w+(?:\s\w+)?|\b{_NAME})\s+(?:is|was|has been)"
    rf"(?:\s+(?P<now>now|already|still))?\s+(?P<value>{_STATUSES})\b"
)
_PREDICATES = (
    (_LIVES, RESIDENCE, 0.85, False),
    (_MOVED, RESIDENCE, 0.95, True),
    (_WORKS, WORK, 0.75, False),
    (_JOINED, WORK, 0.85, True),
    (_RELATED, RELATIONSHIP, 0.9, False),
)


def read(sentence: str) -> Iterator[Filled]:
    """Yields the statements of a sentence."""
    yield from _opinions(sentence)
    if _NOT_NOW.search(re.sub(r"\bno longer\b", "", sentence)):
        return
    for pattern, slot, sure, changes in _PREDICATES:
        for match in pattern.finditer(sentence):
            changed = changes or match.groupdict().get("now") in ("now", "just", "recently")
            yield Filled(match["subject"], slot, match["value"], changed, sure, CUES[slot])
    for match in _FAVOURITE.finditer(sentence):
        slot = match["slot"]
        kind = tuple(slot.split()[1:])
        rivals = (("favourite", *kind), ("favorite", *kind))
        changed = bool(match["now"] or match["then"])
        yield Filled(_owner(match["subject"]), slot, match["value"], changed, 0.85, rivals)
    for match in _ATTRIBUTE.finditer(sentence):
        slot = match["slot"] or match["slot2"]
        subject = _owner(match["subject"] or match["subject2"])
        changed = bool(match["new"] or match["then"])
        # "The deadline" may be that of anything.
        sure = 0.6 if subject == "the" else 0.85
        yield Filled(subject, slot, match["value"], changed, sure, (tuple(slot.split()),))
    for match in _STATE.finditer(sentence):
        cues = (tuple(re.sub(r"^[Tt]he\s+", "", match["subject"]).split()),)
        yield Filled(match["subject"], STATUS, match["value"], bool(match["now"]), 0.85, cues)


def _opinions(sentence: str) -> Iterator[Filled]:
    for pattern, value in ((_LIKES_NO_MORE, "dislikes"), (_LIKES, "likes")):
        for match in pattern.finditer(sentence):
            about = match["value"].strip()
            changed = "no longer" in match[0] or bool(match["more"])
            cues = (tuple(about.split()),)
            yield Filled(match["subject"], f"opinion of {about}", value, changed, 0.85, cues)


def _owner(written: str) -> str:
    owner = re.sub(r"['\u2019]s$", "", written)
    return "the" if owner.lower() == "the" else owner
