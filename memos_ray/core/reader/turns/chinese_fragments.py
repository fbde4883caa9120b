"""Completes Chinese fragments from the question before: 三月呢, 那她妹妹呢, 为什么, 花了多少钱."""

from __future__ import annotations

import re
from collections.abc import Sequence

from memos_ray.core.reader.times import resolve_times
from memos_ray.core.reader.turns.chinese_phrases import (
    KIN,
    Person,
    is_name,
    persons,
    place_in,
    things_in,
)
from memos_ray.core.reader.turns.dialogue import Decision, Moment, Slot

_LEAD = re.compile(
    r"^\s*(?:(?:好的?|谢谢|謝謝|嗯|哦|噢|明白了?|知道了|行|对了)[,\uff0c。!\uff01\s]+)*"
)
_MARKER = re.compile(
    r"^(?:那么|那(?![个里儿边时天年次些位只]|我|你)|还有(?!谁|什么|吗|呢|别的)|然后|另外|以及|至于)[,\uff0c\s]*"
)
_END = re.compile(r"[\s?\uff1f。.!\uff01]*$")
_ADVERBIAL = (
    r"什么时候|什麼時候|何时|几时|哪一?天|哪一?年|哪个月|几月几号|几号|为什么|為什麼|"
    r"为何|怎么会|怎么|如何|在哪(?![天年个月])[里儿]?|去哪(?![天年个月])[里儿]?|哪里|"
    r"哪儿|跟谁|和谁|多久|多长时间"
)
_NOMINAL = r"谁|誰|什么|什麼|哪[个只本部家些位种]|多少钱?|几[个只本次岁天年条张家]?"
_BARE = re.compile(
    rf"^(?:是|又是|究竟|到底|具体)?(?P<wh>还有谁|还有什么|还有别的吗?|还有呢|还有吗|{_ADVERBIAL}|{_NOMINAL})"
    r"(?:来着|呢|啊|的|了)?$"
)
_NE = re.compile(r"^(?P<x>.{1,24}?)(?:呢|也是吗|也一样吗|也是这样吗)$")
_HOW_ABOUT = re.compile(r"^(?P<x>.{1,24}?)(?:呢|又?怎么样|也是吗|也一样吗|也是这样吗)$")
_WH = re.compile(rf"{_ADVERBIAL}|{_NOMINAL}")
_ACTS = re.compile(
    r"^(?:(?:后来|现在|一共|总共|最后|最终|又|还|也|都|当初|原来|大概|究竟|到底|是)*)"
    r"(?:[\u4e00-\u9fff]{1,2}(?:了|过|到|给|完|好|掉|成|出|起来|下来)(?![\u4e00-\u9fff]{0,3}的)|"
    rf"[花买卖送用叫养学住搬修换考拿带请种写读看听拍去来到做吃喝打玩交付赚租签找选开有给挑录要等练教收共]"
    rf"(?:{_ADVERBIAL}|{_NOMINAL})|(?:{_ADVERBIAL})|(?:多少|几)[\u4e00-\u9fff]|"
    rf"[\u4e00-\u9fff]{{1,3}}的是(?:{_NOMINAL}|{_ADVERBIAL})|"
    r"[\u4e00-\u9fff]{1,3}[吗嗎]$|(?:有没有|是不是|会不会|能不能|要不要))"
)
_OTHERS = re.compile(r"[我你您咱]|大家|有人|这")
_TOPIC_CHARS = 40
_SHORT_ANSWER = 14
_EPOCHS = re.compile(r"现在|如今|以前|从前|过去|当时|后来|原来|将来|以后")


def complete(
    question: str, base: str, names: Sequence[str], moment: Moment, answer: str
) -> tuple[str, list[Decision]] | None:
    """Completes a fragment; None: the question is none.

    Args:
        base: the question before, as it can be understood alone.
        names: those that the dialogue makes known.
        answer: what was answered; empty without an answer.
    """
    core = _END.sub("", _LEAD.sub("", question)).strip()
    marker = _MARKER.match(core)
    rest = core[marker.end() :] if marker else core
    bare = _BARE.match(rest)
    if bare is not None:
        text = _asked_otherwise(bare["wh"], base, names)
        if text is None:
            return None
        return text, [Decision(Slot.QUESTION, question.strip(), base, f"{bare['wh']}, asked of it")]
    about = (_HOW_ABOUT if marker else _NE).match(rest)
    if about is not None and not _WH.search(about["x"]):
        found = _replaced(about["x"].strip("\uff0c, "), base, names, moment)
        if found is None:
            return None
        text, slot, words, reason = found
        return text, [Decision(slot, question.strip(), words, reason)]
    return _without_topic(question, rest, base, names, answer)


def _asked_otherwise(wh: str, base: str, names: Sequence[str]) -> str | None:
    body = _END.sub("", base)
    if wh.startswith("还有"):
        return None if body.startswith("除此之外") else f"除此之外\uff0c{body}\uff1f"
    old = re.search(_ADVERBIAL, body)
    if old is not None and re.fullmatch(_ADVERBIAL, wh):
        text = f"{body[: old.start()]}{wh}{body[old.end() :]}\uff1f"
    elif re.search(r"[吗嗎]$", body) and not _WH.search(body):
        body = body[:-1].rstrip("了") or body
        first = next(iter(persons(body, names)), None)
        at = first.end if first is not None and first.begin == 0 else 0
        text = f"{body[:at]}{wh}{body[at:]}\uff1f"
    else:
        text = f"{wh}\uff1a{body}\uff1f"
    return None if text == base else text


def _replaced(
    x: str, base: str, names: Sequence[str], moment: Moment
) -> tuple[str, Slot, str, str] | None:
    if not x or x in base:
        return None
    bare = x.removeprefix("在").removeprefix("去").removeprefix("到")
    if _EPOCHS.fullmatch(x):
        text, count = _EPOCHS.subn(x, base, count=1)
        return (text if count else f"{x}\uff0c{base}"), Slot.TIME, x, "another time"
    times = resolve_times(x, moment.now, tz=moment.tz, language="zh")
    if times and len(times[0].text) >= len(bare) - 1:
        return _with_time(x, base, moment)
    mine = persons(x, names)
    if mine or is_name(x) or KIN.search(x):
        old = _slot_of_person(base, names)
        if old is not None:
            text = base[: old.begin] + x + base[old.end :]
            return text, Slot.PERSON, text, f"in place of {old.text}"
    place = place_in(base)
    if place is not None and (x != bare or not things_in(base, names)):
        text = base[: place[0]] + bare + base[place[1] :]
        return text, Slot.PLACE, text, f"in place of {place[2]}"
    things = things_in(base, names)
    if things:
        begin, end, words = things[0]
        owner, of, _ = words.partition("的")
        new = f"{owner}的{x}" if of and "的" not in x else x
        text = base[:begin] + new + base[end:]
        return text, Slot.THING, text, f"in place of {words}"
    return f"{x}\uff1a{base}", Slot.TOPIC, base, "nothing of its kind before"


def _slot_of_person(base: str, names: Sequence[str]) -> Person | None:
    return next(iter(persons(base, names)), None)


def _with_time(x: str, base: str, moment: Moment) -> tuple[str, Slot, str, str]:
    old = resolve_times(base, moment.now, tz=moment.tz, language="zh")
    if old:
        text = base.replace(old[-1].text, x, 1)
        return text, Slot.TIME, x, f"in place of {old[-1].text}"
    return f"{x}\uff0c{base}", Slot.TIME, x, "the time is new"


def _without_topic(
    question: str, rest: str, base: str, names: Sequence[str], answer: str
) -> tuple[str, list[Decision]] | None:
    """Says of whom a question is that names nobody: 花了多少钱, 严重吗."""
    if not _ACTS.match(rest) or persons(rest, names) or _OTHERS.search(rest):
        return None
    topic = _topic(base, answer)
    if topic is None or topic in rest:
        return None
    text = f"{topic}\uff0c{rest}\uff1f"
    return text, [Decision(Slot.TOPIC, question.strip(), topic, "of the question before")]


def _topic(base: str, answer: str) -> str | None:
    body = _END.sub("", base)
    told = _END.sub("", answer).strip()
    asked = re.search(_NOMINAL, body) is not None and re.search(_ADVERBIAL, body) is None
    body = re.sub(rf"(?:是|在|打算|一共|到底)?(?:{_ADVERBIAL}|{_NOMINAL})", "", body)
    body = re.sub(r"[的了呢吗嗎是]+$", "", body).strip("\uff0c, ")
    if asked and 0 < len(told) <= _SHORT_ANSWER and told not in body:
        # What was asked for is what one goes on about.
        body += told
    return body[:_TOPIC_CHARS] if len(body) > 1 else None


def carry(question: str, base: str, moment: Moment) -> tuple[str, list[Decision]] | None:
    """Carries the time over to a question that begins with 那."""
    core = _LEAD.sub("", question).strip()
    marker = _MARKER.match(core)
    if marker is None or (not _WH.search(core) and not re.search(r"[吗嗎]\W*$", core)):
        return None
    rest = core[marker.end() :]
    old = resolve_times(base, moment.now, tz=moment.tz, language="zh")
    if not old or resolve_times(rest, moment.now, tz=moment.tz, language="zh"):
        return None
    if re.search(r"什么时候|何时|哪[一]?[天年]|几[月号]|多久", rest):
        return None
    words = old[-1].text
    return f"{words}\uff0c{rest}", [Decision(Slot.TIME, marker[0], words, "of the question before")]
