"""English times. The anchor is Wednesday, 10 May 2023, 13:56 UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memos_ray.core.reader.times import EARLIEST, LATEST, Granularity, resolve_times

ANCHOR = datetime(2023, 5, 10, 13, 56, tzinfo=UTC)


def spans(text: str, anchor: datetime | None = ANCHOR) -> list[str]:
    return [f"{m.start:%Y-%m-%d}/{m.end:%Y-%m-%d}" for m in resolve_times(text, anchor)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # relative days
        ("I went there yesterday", "2023-05-09/2023-05-10"),
        ("today's lunch", "2023-05-10/2023-05-11"),
        ("tomorrow", "2023-05-11/2023-05-12"),
        ("the day before yesterday", "2023-05-08/2023-05-09"),
        ("the day after tomorrow", "2023-05-12/2023-05-13"),
        ("three days ago", "2023-05-07/2023-05-08"),
        ("3 days back we met", "2023-05-07/2023-05-08"),
        ("two days from now", "2023-05-12/2023-05-13"),
        # weeks and weekends
        ("last week", "2023-05-01/2023-05-08"),
        ("this week", "2023-05-08/2023-05-15"),
        ("next week", "2023-05-15/2023-05-22"),
        ("two weeks ago", "2023-04-24/2023-05-01"),
        ("the week before last", "2023-04-24/2023-05-01"),
        ("this weekend", "2023-05-13/2023-05-15"),
        ("last weekend", "2023-05-06/2023-05-08"),
        ("over the weekend", "2023-05-06/2023-05-08"),
        ("two weekends ago", "2023-04-29/2023-05-01"),
        # months, quarters, years, decades
        ("last month", "2023-04-01/2023-05-01"),
        ("next month", "2023-06-01/2023-07-01"),
        ("three months ago", "2023-02-01/2023-03-01"),
        ("half a year ago", "2022-11-01/2022-12-01"),
        ("last quarter", "2023-01-01/2023-04-01"),
        ("Q1 2022", "2022-01-01/2022-04-01"),
        ("the third quarter of 2021", "2021-07-01/2021-10-01"),
        ("last year", "2022-01-01/2023-01-01"),
        ("ten years ago", "2013-01-01/2014-01-01"),
        ("in the 1990s", "1990-01-01/2000-01-01"),
        ("back in the 90s", "1990-01-01/2000-01-01"),
        # rolling
        ("the past three months", "2023-02-10/2023-05-11"),
        ("in the last 10 days", "2023-04-30/2023-05-11"),
        ("the next two weeks", "2023-05-10/2023-05-25"),
        # vague counts
        ("a few days ago", "2023-05-05/2023-05-09"),
        ("a couple of weeks ago", "2023-04-17/2023-05-08"),
        # weekdays
        ("We met on Friday", "2023-05-05/2023-05-06"),
        ("I'll see you on Friday", "2023-05-12/2023-05-13"),
        ("On Friday I will move", "2023-05-12/2023-05-13"),
        ("last Wednesday", "2023-05-03/2023-05-04"),
        ("next Friday", "2023-05-12/2023-05-13"),
        ("this Monday", "2023-05-08/2023-05-09"),
        ("Friday of last week", "2023-05-05/2023-05-06"),
        ("last Fri we met", "2023-05-05/2023-05-06"),
        # dates
        ("on 8 May", "2023-05-08/2023-05-09"),
        ("the 5th of March", "2023-03-05/2023-03-06"),
        ("May 3rd, 2021", "2021-05-03/2021-05-04"),
        ("8 May, 2023", "2023-05-08/2023-05-09"),
        ("March-15-2024", "2024-03-15/2024-03-16"),
        ("Dec 10", "2022-12-10/2022-12-11"),
        ("29 February", "2020-02-29/2020-03-01"),
        ("2023-05-08", "2023-05-08/2023-05-09"),
        ("2023/5/8", "2023-05-08/2023-05-09"),
        ("05/03/2024", "2024-05-03/2024-05-04"),
        ("25/03/2024", "2024-03-25/2024-03-26"),
        ("8.5.2023", "2023-05-08/2023-05-09"),
        ("2023-05 was hot", "2023-05-01/2023-06-01"),
        # months and years by name
        ("in March", "2023-03-01/2023-04-01"),
        ("in June", "2022-06-01/2022-07-01"),
        ("We will marry in June", "2023-06-01/2023-07-01"),
        ("May 2021", "2021-05-01/2021-06-01"),
        ("next March", "2024-03-01/2024-04-01"),
        ("last May", "2022-05-01/2022-06-01"),
        ("August of last year", "2022-08-01/2022-09-01"),
        ("in 2021", "2021-01-01/2022-01-01"),
        ("early May 2023", "2023-05-01/2023-05-11"),
        ("the end of last month", "2023-04-21/2023-05-01"),
        ("the first half of 2022", "2022-01-01/2022-07-02"),
        # seasons
        ("last summer", "2022-06-01/2022-09-01"),
        ("this spring", "2023-03-01/2023-06-01"),
        ("in the winter of 2020", "2020-12-01/2021-03-01"),
        # ranges
        ("between March and June 2023", "2023-03-01/2023-07-01"),
        ("from November to February", "2022-11-01/2023-03-01"),
        ("from 2019 to 2021", "2019-01-01/2022-01-01"),
        ("3-5 May 2022", "2022-05-03/2022-05-06"),
        ("May 3 to May 5, 2022", "2022-05-03/2022-05-06"),
        ("since 2020", "2020-01-01/2023-05-11"),
        ("since last Tuesday", "2023-05-09/2023-05-11"),
        ("the week before 15 August 2022", "2022-08-08/2022-08-15"),
        ("two days before 8 May 2021", "2021-05-06/2021-05-07"),
        ("the Friday after 8 May 2023", "2023-05-12/2023-05-13"),
        ("the week of 8 May 2023", "2023-05-08/2023-05-15"),
    ],
)
def test_one_span(text: str, expected: str) -> None:
    assert spans(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "You may sit",
        "May I ask you something?",
        "I sat there in the sun",
        "They march on",
        "Mar the surface",
        "April said hello to June",
        "a letter from April",
        "June Carter sings",
        "Will Jan come too?",
        "this may be late",
        "spring water and a great fall",
        "every Monday",
        "She plays on Mondays",
        "24/7",
        "half of 1/2 cup",
        "version 2.3.2023.1",
        "call 555-2023-05-08",
        "in 1500 words",
        "in 2000 people's minds",
        "I read 1984",
        "I built it in two days",
        "It took three weeks",
        "30 February",
        "5000 years ago",
        "second to none",
        "back to back",
        "",
        "   ",
        "\u0000\u0130\u0131",
    ],
)
def test_no_time_is_read_into_ordinary_words(text: str) -> None:
    assert spans(text) == []


@pytest.mark.parametrize(
    ("text", "start", "end", "granularity"),
    [
        ("1:56 pm on 8 May, 2023", "2023-05-08T13:56", "2023-05-08T13:57", Granularity.MINUTE),
        ("yesterday at 3pm", "2023-05-09T15:00", "2023-05-09T16:00", Granularity.HOUR),
        ("8 May 2023, 09:30", "2023-05-08T09:30", "2023-05-08T09:31", Granularity.MINUTE),
        ("12 am on 8 May 2023", "2023-05-08T00:00", "2023-05-08T01:00", Granularity.HOUR),
        ("2023-05-08T13:56:00Z", "2023-05-08T13:56", "2023-05-08T13:57", Granularity.MINUTE),
        ("2023-05-08T13:56+02:00", "2023-05-08T11:56", "2023-05-08T11:57", Granularity.MINUTE),
        ("last night", "2023-05-09T18:00", "2023-05-10T05:00", Granularity.DAYPART),
        ("tomorrow morning", "2023-05-11T05:00", "2023-05-11T12:00", Granularity.DAYPART),
        ("last Friday night", "2023-05-05T18:00", "2023-05-06T05:00", Granularity.DAYPART),
        ("three hours ago", "2023-05-10T10:00", "2023-05-10T11:00", Granularity.HOUR),
        ("20 minutes ago", "2023-05-10T13:36", "2023-05-10T13:37", Granularity.MINUTE),
    ],
)
def test_times_of_day(text: str, start: str, end: str, granularity: Granularity) -> None:
    (mention,) = resolve_times(text, ANCHOR)
    assert (mention.start, mention.end) == (
        datetime.fromisoformat(start).replace(tzinfo=UTC),
        datetime.fromisoformat(end).replace(tzinfo=UTC),
    )
    assert mention.granularity is granularity


def test_an_open_side_ends_at_the_ends_of_the_calendar() -> None:
    (before,) = resolve_times("before 2020", ANCHOR)
    (after,) = resolve_times("after March 2023", ANCHOR)
    assert (before.start, before.end) == (EARLIEST, datetime(2020, 1, 1, tzinfo=UTC))
    assert (after.start, after.end) == (datetime(2023, 4, 1, tzinfo=UTC), LATEST)


def test_several_times_are_found_in_order() -> None:
    text = "I was in Rome last year, and in May 2021 in Oslo; tomorrow I fly home."
    assert [m.text for m in resolve_times(text, ANCHOR)] == ["last year", "May 2021", "tomorrow"]


def test_a_guessed_year_is_marked_and_a_stated_one_is_not() -> None:
    guessed = {
        text: resolve_times(text, ANCHOR)[0].year_guessed
        for text in ("on 8 May", "in June", "8 May 2023", "last May", "between March and June 2023")
    }
    assert guessed == {
        "on 8 May": True,
        "in June": True,
        "8 May 2023": False,
        "last May": False,
        "between March and June 2023": False,
    }
