"""Parses a request in natural language into a `MemoryCall`, by rules alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, tzinfo

from memos_ray.core.reader.decoding import normalise
from memos_ray.core.reader.language import detect_language
from memos_ray.core.reader.query.call import Intent, MemoryCall, Target
from memos_ray.core.reader.query.entities import find_entities
from memos_ray.core.reader.query.intent import find_intent
from memos_ray.core.reader.query.slots import (
    find_anchors,
    find_steering,
    find_topics,
    find_types,
)
from memos_ray.core.reader.times import Granularity, TimeMention, resolve_times

# A request is short. Of a pasted text only the beginning steers; all of it stays in `text`.
MAX_PARSED_CHARS = 4_000
_STORING = frozenset({Intent.ADD, Intent.UPDATE})
_TIME_ASKED = re.compile(
    r"\b(?:when\s+(?:did|do|does|was|were|is|are|will|would|has|have|had|can|should|'s)|"
    r"(?:what|which)\s+(?:(?:exact|specific)\s+)?(?:date|day|time|year|month|week|"
    r"season)s?\b(?! of the)|"
    r"how long|how many (?:days|weeks|months|years|hours|minutes)|since when|until when|"
    r"how old|how (?:soon|recently)|when's)\b"
    # "When Ann is leaving?", which is not English but asked all the same.
    r"|^when\s+(?!i\b|we\b|you\b|.*\b(?:what|who|where|which|how|did|do|does)\b)[^,]{1,200}\?$"
    r"|什么时候(?!都|也)|什麼時候|甚麼時候|何时|何時|哪一?天|几号|幾號|哪一?年|哪个月|"
    r"哪個月|几月|多久(?!.{0,4}[一几]次)|多长时间|"
    r"多長時間|几点|幾點|多少[天年月周]|几[天年](?!前|后|来)|多大年纪|几岁",
    re.I,
)
_BLANKS = re.compile(r"\s+")
_LEFT_OVER = re.compile(r"^[\s,:;\uff0c\uff1a、-]+|[\s,:;\uff0c\uff1a、]+$")
_BEFORE_MARK = re.compile(r"\s+([?.!,\uff1f。\uff01])")


def parse(
    text: str,
    now: datetime,
    tz: tzinfo,
    participants: Sequence[str] = (),
    known_tags: Sequence[str] = (),
) -> MemoryCall:
    """Parses one request.

    Some hundred microseconds for a usual question. `reasons` says which words filled which slot.

    Args:
        text: the request, English or Chinese; its first `MAX_PARSED_CHARS` characters are parsed.
        now: the moment of the request, aware, which "last month" is relative to.
        tz: the caller's zone, in which days begin.
        participants: names known from the conversation.
        known_tags: tags that exist, recognised as topics.

    Raises:
        ValueError: `now` is naive.
    """
    text = normalise(text).strip()
    head = text[:MAX_PARSED_CHARS]
    language = detect_language(head)
    steering = find_steering(head)
    rest = _without(head, steering.spans)
    found = find_intent(rest, language)
    times = resolve_times(head, now, tz=tz, language=language if language == "zh" else "en")
    types = tuple(find_types(head))
    asked = _TIME_ASKED.search(head)
    time_range = None if found.intent in _STORING else _covering(times)
    target = steering.target
    if found.intent is Intent.LIST and target is Target.TEXT:
        target = Target.LIST
    remaining = _without(rest, [found.command] if found.command else [])
    # Where to look is said with names, too, but not with the names of what is looked for.
    entities = find_entities(rest, participants)
    topics = find_topics(head, known_tags)
    anchors = find_anchors(head)
    reasons = [
        f"intent: {found.rule}",
        *([f"time_range: {time_range.text}"] if time_range else []),
        *([f"time_asked: {asked[0]}"] if asked else []),
        *(f"entities: {entity.text} ({entity.kind})" for entity in entities),
        *(f"topics: {topic}" for topic in topics),
        *(f"semantic_types: {one} by {words!r}" for one, words in types),
        *(f"anchors: {anchor}" for anchor in anchors),
        *steering.reasons,
    ]
    return MemoryCall(
        intent=found.intent,
        text=remaining + text[MAX_PARSED_CHARS:],
        time_range=time_range,
        times=times,
        time_asked=asked is not None,
        entities=entities,
        topics=topics,
        semantic_types=frozenset(one for one, _ in types),
        anchors=anchors,
        scope=steering.scope,
        target=target,
        limit=steering.limit,
        language=language,
        confidence=found.confidence,
        reasons=tuple(reasons),
    )


def _covering(times: Sequence[TimeMention]) -> TimeMention | None:
    if len(times) < 2:
        return times[0] if times else None
    return TimeMention(
        start=min(time.start for time in times),
        end=max(time.end for time in times),
        text=" … ".join(time.text for time in times),
        granularity=Granularity.RANGE,
        year_guessed=any(time.year_guessed for time in times),
    )


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Returns the text without the spans; all of it when nothing else would be left."""
    if not spans:
        return text
    kept: list[str] = []
    last = 0
    for begin, end in sorted(spans):
        kept.append(text[last : max(begin, last)].strip())
        last = max(end, last)
    kept.append(text[last:].strip())
    rest = _BEFORE_MARK.sub(r"\1", _LEFT_OVER.sub("", _BLANKS.sub(" ", " ".join(kept))))
    return rest if rest.strip("?.!\uff1f。\uff01 ") else text
