"""One pass over a Chinese question."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from memos_ray.core.reader.times import resolve_times
from memos_ray.core.reader.turns.candidates import Heard
from memos_ray.core.reader.turns.chinese_fragments import carry, complete
from memos_ray.core.reader.turns.chinese_phrases import (
    Person,
    persons,
    place_in,
    things_in,
)
from memos_ray.core.reader.turns.dialogue import Decision, Moment, Slot, Turn

_PRONOUN = re.compile(
    r"(?P<group>(?<![其吉])[他她它]们)|(?P<person>(?<![其吉])[他她](?![们人]))|(?P<thing>它(?!们))"
    r"|(?P<place>那里|那儿|那边|那個地方|那个地方)"
    r"|(?P<time>那时候?|那個時候|那个时候|当时|當時|那天|那年|那个月)"
    r"|(?P<other>另外?一[个位只家本]|后者|前者)"
)
_LEANS = re.compile(
    r"[他她它]|那[里儿边时天年个]|当时|當時|另外?一|前者|后者|呢\s*[\uff1f?]?\s*$|^\W*(?:那|还有|然后|另外|好的?|谢谢)"
)
_SHORT_CHARS = 14
_WHO = re.compile(r"谁|誰|哪位|哪个人")
_MOST = 6
_CALLED = re.compile("叫什么|叫啥|名字")
_SHORT_NAME = 8


def leans(question: str) -> bool:
    """Tells whether a question may lean on what was said before."""
    return _LEANS.search(question) is not None or len(question.strip()) <= _SHORT_CHARS


def rewrite_once(
    question: str, base: str | None, heard: Heard, moment: Moment
) -> tuple[str, list[Decision]]:
    """Fills what one pass can fill."""
    turns = heard.turns
    names = _names(heard, question)
    avoid = frozenset[str]()
    if base is not None and re.match(r"^\W*(?:那么?|还有)?[他她]们?呢\W*$", question):
        avoid = frozenset(one.text for one in persons(base, names))
    text, decisions = _fill(question, turns, names, moment, avoid)
    if base is not None:
        answer = turns[-1].text if turns and not turns[-1].asked else ""
        found = complete(text, base, names, moment, answer) or carry(text, base, moment)
        if found is not None:
            text, more = found
            decisions += more
    return text, decisions


def _names(heard: Heard, question: str) -> tuple[str, ...]:
    """Returns the names that anything said so far makes known, longest first."""
    found = set(heard.known.names(question))
    for turn in heard.turns:
        found.update(heard.known.names(turn.text))
        if turn.speaker and len(turn.speaker) > 1:
            found.add(turn.speaker)
    return tuple(sorted(found, key=lambda name: (-len(name), name)))


def _fill(
    question: str,
    turns: Sequence[Turn],
    names: Sequence[str],
    moment: Moment,
    avoid: frozenset[str],
) -> tuple[str, list[Decision]]:
    decisions: list[Decision] = []
    done, last = "", 0
    for match in _PRONOUN.finditer(question):
        done += question[last : match.start()]
        last = match.end()
        found = _meant(match, done, turns, names, moment, avoid)
        if found is None or len(decisions) >= _MOST:
            done += match[0]
            continue
        slot, meant, reason = found
        decisions.append(Decision(slot, match[0], meant, reason))
        done += match[0] if meant is None else meant
    return done + question[last:], decisions


def _meant(
    match: re.Match[str],
    before: str,
    turns: Sequence[Turn],
    names: Sequence[str],
    moment: Moment,
    avoid: frozenset[str],
) -> tuple[Slot, str | None, str] | None:
    match match.lastgroup:
        case "person":
            gender = "m" if match[0] == "他" else "f"
            if any(one.gender in {gender, None} for one in persons(before, names)):
                return None
            return _person(gender, turns, names, avoid)
        case "group":
            return _group(turns, names)
        case "thing":
            if things_in(before, names):
                return None
            return _thing(turns, names)
        case "place":
            return _place(turns)
        case "time":
            return _time(turns, moment)
        case _:
            return _other(match[0], turns, names)


def _exchanges(turns: Sequence[Turn], new: re.Pattern[str] | None) -> Iterator[list[Turn]]:
    """Yields questions with their answers, newest first; the likelier one to be meant first."""
    answers: list[Turn] = []
    for turn in reversed(turns):
        if not turn.asked:
            answers.append(turn)
            continue
        answered_first = new is not None and new.search(turn.text) is not None
        yield [*answers, turn] if answered_first else [turn, *answers]
        answers = []
    if answers:
        yield answers


def _person(
    gender: str, turns: Sequence[Turn], names: Sequence[str], avoid: frozenset[str]
) -> tuple[Slot, str | None, str]:
    known = _genders(turns, names)
    for exchange in _exchanges(turns, _WHO):
        sure: list[Person] = []
        possible: list[Person] = []
        for turn in exchange:
            for one in persons(turn.text, names):
                found = one.gender or known.get(one.text)
                if one.text in avoid or found not in {gender, None}:
                    continue
                (sure if found else possible).append(one)
        if sure:
            return Slot.PERSON, sure[0].text, "named before"
        if possible:
            first = possible[0]
            rival = next((one for one in possible[1:] if one.text != first.text), None)
            if rival is not None and any(
                re.search(f"{re.escape(first.text)}[和跟与與、]{re.escape(rival.text)}", turn.text)
                for turn in exchange
            ):
                return Slot.PERSON, None, f"ambiguous: {first.text} or {rival.text}"
            return Slot.PERSON, first.text, "named before"
    return Slot.PERSON, None, "nobody in the dialogue fits"


def _genders(turns: Sequence[Turn], names: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for turn in turns:
        for one in persons(turn.text, names):
            if one.gender:
                found[one.text] = one.gender
    return found


def _group(turns: Sequence[Turn], names: Sequence[str]) -> tuple[Slot, str | None, str]:
    for turn in reversed(turns):
        named = persons(turn.text, names)
        for one, two in itertools.pairwise(named):
            if turn.text[one.end : two.begin] in {"和", "跟", "与", "與", "、"}:
                return Slot.GROUP, f"{one.text}和{two.text}", "named together before"
    return Slot.GROUP, None, "no group was named"


def _thing(turns: Sequence[Turn], names: Sequence[str]) -> tuple[Slot, str | None, str]:
    for exchange in _exchanges(turns, re.compile("什么|什麼|哪[个只本部家]")):
        asked = next((turn.text for turn in exchange if turn.asked), "")
        told = next((turn.text.strip("。. ") for turn in exchange if not turn.asked), "")
        if _CALLED.search(asked) and 0 < len(told) <= _SHORT_NAME:
            return Slot.THING, told, "named before"
        for turn in exchange:
            found = things_in(turn.text, names)
            if found:
                return Slot.THING, found[0][2], "named before"
    return Slot.THING, None, "nothing in the dialogue fits"


def _place(turns: Sequence[Turn]) -> tuple[Slot, str | None, str]:
    for turn in reversed(turns):
        found = place_in(turn.text)
        if found is not None:
            return Slot.PLACE, found[2], "named before"
    return Slot.PLACE, None, "no place was named"


def _time(turns: Sequence[Turn], moment: Moment) -> tuple[Slot, str | None, str]:
    for turn in reversed(turns):
        times = resolve_times(turn.text, moment.now, tz=moment.tz, language="zh")
        if times:
            return Slot.TIME, times[-1].text, "named before"
    return Slot.TIME, None, "no time was named"


def _other(words: str, turns: Sequence[Turn], names: Sequence[str]) -> tuple[Slot, str | None, str]:
    for back, turn in enumerate(reversed(turns)):
        named = persons(turn.text, names)
        for one, two in itertools.pairwise(named):
            if turn.text[one.end : two.begin] not in {"和", "跟", "与", "與", "、", "还是", "或"}:
                continue
            if words in {"前者", "后者"}:
                return Slot.PERSON, (one if words == "前者" else two).text, "of two named before"
            later = "".join(turn.text for turn in turns[len(turns) - back :])
            spoken = [p for p in (one, two) if p.text in later]
            if len(spoken) == 1:
                return Slot.PERSON, (two if spoken[0] is one else one).text, "of two named before"
            return Slot.PERSON, None, f"ambiguous: {one.text} or {two.text}"
    return Slot.THING, None, "no two were named together"
