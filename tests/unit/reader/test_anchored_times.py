"""Times that count from an event, and the event's date (READ-2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Setting, TimeSpan
from memos_ray.core.reader.language import detect_language
from memos_ray.core.reader.query.anchored import AnchoredTime, Way, beside, find_anchored
from memos_ray.core.reader.query.event_dates import EventDate, Outcome, date_of
from memos_ray.testing.cubes import make_cube

NOW = datetime(2024, 8, 20, 12, tzinfo=UTC)
# A Wednesday.
EVENT = TimeSpan(datetime(2024, 7, 3, tzinfo=UTC), datetime(2024, 7, 4, tzinfo=UTC))


def found(text: str) -> AnchoredTime | None:
    return find_anchored(text, detect_language(text))


@pytest.mark.parametrize(
    ("text", "event", "way", "unit", "count"),
    [
        ("What happened the week before her birthday?", "her birthday", Way.BEFORE, "week", 1),
        ("What did we eat two days after the wedding?", "the wedding", Way.AFTER, "day", 2),
        ("Where did Ann live before she moved?", "Ann moved", Way.BEFORE, None, 1),
        ("Who called on Clara's birthday?", "Clara's birthday", Way.DURING, None, 1),
        ("Whom did Bo meet since the trip to Rome?", "the trip to Rome", Way.SINCE, None, 1),
        ("What broke the Friday after the concert?", "the concert", Way.AFTER, "friday", 1),
        ("a fortnight before our exam", "our exam", Way.BEFORE, "week", 2),
        ("What did we do before the concert in May 2024?", "the concert", Way.BEFORE, None, 1),
        ("What did Ann do after she moved?", "Ann moved", Way.AFTER, None, 1),
        ("two weeks after Bo was born, what broke?", "Bo was born", Way.AFTER, "week", 2),
        ("Where did Ann's father live before he left?", "Ann's father left", Way.BEFORE, None, 1),
        ("她生日前一周发生了什么?", "她生日", Way.BEFORE, "week", 1),
        ("婚礼后两天他们去了哪里?", "婚礼", Way.AFTER, "day", 2),
        ("她搬家之前住在哪里?", "她搬家", Way.BEFORE, None, 1),
        ("小满生日那天吃了什么?", "小满生日", Way.DURING, None, 1),
        ("他在女儿生日前三天做了什么?", "女儿生日", Way.BEFORE, "day", 3),
    ],
)
def test_READ_2_a_time_counts_from_an_event(
    text: str, event: str, way: Way, unit: str | None, count: int
) -> None:
    anchored = found(text)
    assert anchored is not None
    assert (anchored.event, anchored.way) == (event, way)
    assert (anchored.unit, anchored.count) == (unit, count)
    assert anchored.words in text


@pytest.mark.parametrize(
    "text",
    [
        "What did he do before lunch?",
        "What happened after 8 May 2023?",
        "the week before last",
        "Did Ann call after all?",
        "What did I do after that?",
        "What did you learn during the trip?",
        "What did you learn after the trip?",
        "How many days after the wedding did we leave?",
        "How was the opening night of her show?",
        "三天前我去了哪里?",
        "以前他住在哪里?",
        "两年前我在哪里?",
        "最后谁赢了?",
        "十月之前发生了什么?",
        "Where does Ann live?",
        "",
    ],
)
def test_READ_2_other_times_count_from_no_event(text: str) -> None:
    assert found(text) is None


@pytest.mark.parametrize(
    ("text", "first", "behind"),
    [
        ("the week before her birthday", date(2024, 6, 26), date(2024, 7, 3)),
        ("two weeks before her birthday", date(2024, 6, 19), date(2024, 6, 26)),
        ("the day after her birthday", date(2024, 7, 4), date(2024, 7, 5)),
        ("the weekend after her birthday", date(2024, 7, 6), date(2024, 7, 8)),
        ("the weekend before her birthday", date(2024, 6, 29), date(2024, 7, 1)),
        ("the Friday before her birthday", date(2024, 6, 28), date(2024, 6, 29)),
        ("the Wednesday after her birthday", date(2024, 7, 10), date(2024, 7, 11)),
        ("the week of her birthday", date(2024, 7, 1), date(2024, 7, 8)),
        ("on her birthday", date(2024, 7, 3), date(2024, 7, 4)),
        ("since her birthday", date(2024, 7, 3), date(2024, 8, 20)),
        ("the month after her birthday", date(2024, 7, 4), date(2024, 8, 3)),
    ],
)
def test_READ_2_the_time_lies_beside_the_event(text: str, first: date, behind: date) -> None:
    anchored = found(text)
    assert anchored is not None
    span = beside(anchored, EVENT, NOW, UTC)
    assert span is not None and span.text == text
    assert (span.start.date(), span.end.date()) == (first, behind)


def test_READ_2_open_times_and_the_ends_of_the_calendar() -> None:
    before, after = found("before her birthday"), found("after she moved")
    assert before is not None and after is not None
    early, late = beside(before, EVENT, NOW, UTC), beside(after, EVENT, NOW, UTC)
    assert early is not None and early.end == EVENT.start
    assert late is not None and late.start == EVENT.end
    first = TimeSpan(datetime(1, 1, 2, tzinfo=UTC), datetime(1, 1, 3, tzinfo=UTC))
    long_ago = found("900 weeks before her birthday")
    assert long_ago is not None and beside(long_ago, first, NOW, UTC) is None


def memory(text: str, *days: str, said: str | None = None, turn: bool = True) -> MemCube:
    """A memory that tells days, as a turn of a conversation or by itself."""
    starts = [datetime.fromisoformat(f"{day}T00:00:00+00:00") for day in days]
    cube = make_cube(
        text,
        setting=Setting(conversation="c", speaker="Ann") if turn else None,
        event_time=None if said is None else datetime.fromisoformat(f"{said}T10:00:00+00:00"),
    )
    mentions = tuple(TimeSpan(one, one + timedelta(days=1)) for one in starts)
    return replace(cube, descriptive=replace(cube.descriptive, mentions=mentions))


def settled(event: str, *memories: MemCube, within: TimeSpan | None = None) -> EventDate:
    return date_of(event, memories, UTC, within)


def test_READ_2_a_day_that_is_told_dates_the_event() -> None:
    told = memory("Clara's birthday is on 8 May.", "2024-05-08", said="2024-03-01")
    others = (
        memory("Clara's birthday will be fun.", said="2024-03-09"),
        memory("Tea.", "2024-01-01"),
    )
    found = settled("Clara's birthday", told, *others)
    assert (found.outcome, found.memory) == (Outcome.FOUND, told.id)
    assert found.day is not None and found.day.start == datetime(2024, 5, 8, tzinfo=UTC)


def test_READ_2_the_speaker_counts_among_the_words() -> None:
    found = settled("Ann moved to Oslo", memory("I moved to Oslo on Friday.", "2024-05-03"))
    assert found.outcome is Outcome.FOUND


def test_READ_2_only_the_sentence_of_the_event_tells_its_day() -> None:
    two = memory(
        "We met on 6 May 2024. The wedding is on 10 May 2024.",
        "2024-05-06",
        "2024-05-10",
        said="2024-05-07",
    )
    found = settled("the wedding", two)
    assert found.day is not None and found.day.start.date() == date(2024, 5, 10)


def test_READ_2_an_event_of_its_own_happened_at_its_time() -> None:
    found = settled("the concert", memory("The concert", said="2024-05-03", turn=False))
    assert found.day is not None and found.day.start.date() == date(2024, 5, 3)
    only_said = settled("the concert", memory("The concert was loud.", said="2024-05-03"))
    assert only_said.outcome is Outcome.UNKNOWN


def test_READ_2_what_is_not_plain_is_no_date() -> None:
    assert settled("the wedding").outcome is Outcome.UNKNOWN
    assert settled("the wedding", memory("A party.", "2024-05-01")).outcome is Outcome.UNKNOWN
    assert settled("her", memory("Clara moved.", "2024-05-01")).outcome is Outcome.UNKNOWN
    days = (
        memory("The wedding is on 8 May.", "2024-05-08"),
        memory("The wedding is on 9 May.", "2024-05-09"),
    )
    both = settled("the wedding", *days)
    assert (both.outcome, both.others, both.day) == (Outcome.AMBIGUOUS, 2, None)
    span = TimeSpan(datetime(2024, 5, 9, tzinfo=UTC), datetime(2024, 5, 20, tzinfo=UTC))
    assert settled("the wedding", *days, within=span).outcome is Outcome.FOUND


@pytest.mark.parametrize(
    "text",
    [
        "Yesterday should have been the wedding.",
        "The wedding isn't on 8 May 2024.",
        "On 8 May 2024 we were supposed to have the wedding.",
        "We met on 8 May 2024. The wedding will be great.",
        "The wedding was moved from 8 May 2024 to June 2024.",
    ],
)
def test_READ_2_what_may_mean_another_day_tells_none(text: str) -> None:
    unsure = memory(text, "2024-05-08", said="2024-05-09")
    assert settled("the wedding", unsure).outcome is Outcome.UNKNOWN


def test_READ_2_chinese_events_are_dated() -> None:
    told = memory("小满的生日昨天过完了。", "2025-04-11", said="2025-04-12")
    assert settled("小满生日", told).outcome is Outcome.FOUND
    assert settled("王芳的婚礼", told).outcome is Outcome.UNKNOWN
