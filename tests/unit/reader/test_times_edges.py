"""Zones, clock changes, missing anchors, other languages, and long or crafted texts."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from memos_ray.core.reader.times import resolve_times

ANCHOR = datetime(2023, 5, 10, 23, 30, tzinfo=UTC)


def test_days_begin_in_the_given_zone() -> None:
    # In Shanghai it is already the 11th.
    (mention,) = resolve_times("yesterday", ANCHOR, tz=ZoneInfo("Asia/Shanghai"))
    assert mention.start == datetime(2023, 5, 9, 16, tzinfo=UTC)
    assert mention.end == datetime(2023, 5, 10, 16, tzinfo=UTC)


def test_the_zone_of_the_anchor_counts_when_none_is_given() -> None:
    local = ANCHOR.astimezone(ZoneInfo("Asia/Shanghai"))
    assert resolve_times("today", local)[0].start == datetime(2023, 5, 10, 16, tzinfo=UTC)


def test_a_day_of_a_clock_change_is_as_long_as_it_was() -> None:
    zone = ZoneInfo("Europe/Berlin")
    anchor = datetime(2023, 3, 27, 12, tzinfo=zone)
    (mention,) = resolve_times("yesterday", anchor)
    assert mention.end - mention.start == timedelta(hours=23)


def test_a_clock_time_that_never_was_still_has_a_length() -> None:
    zone = ZoneInfo("Europe/Berlin")
    (mention,) = resolve_times("26 March 2023 at 2:30", None, tz=zone)
    assert mention.end - mention.start == timedelta(minutes=1)


def test_hours_ago_are_real_hours_across_a_clock_change() -> None:
    anchor = datetime(2023, 3, 26, 4, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    (mention,) = resolve_times("three hours ago", anchor)
    assert mention.start == datetime(2023, 3, 25, 23, tzinfo=UTC)


def test_without_an_anchor_only_what_needs_none_is_found() -> None:
    text = "yesterday, on 8 May, in May 2021, since 2020, last year, 三天前, 2023年"
    assert [m.text for m in resolve_times(text, None)] == ["May 2021", "since 2020", "2023年"]


def test_a_naive_anchor_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        resolve_times("yesterday", datetime(2023, 5, 10))


@pytest.mark.parametrize("anchor", [datetime.min, datetime.max])
def test_an_anchor_at_the_end_of_the_calendar_resolves_nothing_relative(anchor: datetime) -> None:
    assert resolve_times("next decade and 999 years ago", anchor.replace(tzinfo=UTC)) == ()


def test_a_british_reader_puts_the_day_first() -> None:
    (american,) = resolve_times("5/8/2023", None)
    (british,) = resolve_times("5/8/2023", None, language="en-GB")
    assert (american.start.month, british.start.month) == (5, 8)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Nous sommes partis le 5 mars 2024.", "fr", "2024-03-05"),
        ("Wir trafen uns gestern.", "de", "2023-05-09"),
        ("Nos vimos el 3 de junio de 2022", "es", "2022-06-03"),
    ],
)
def test_other_languages_are_read_when_named(text: str, language: str, expected: str) -> None:
    assert [f"{m.start:%Y-%m-%d}" for m in resolve_times(text, ANCHOR, language=language)] == [
        expected
    ]


@pytest.mark.parametrize(("text", "language"), [("Er sah die Mo an", "de"), ("mar adentro", "es")])
def test_other_languages_are_guarded_against_short_words(text: str, language: str) -> None:
    assert resolve_times(text, ANCHOR, language=language) == ()


def test_an_unknown_language_is_read_as_far_as_the_grammar_goes() -> None:
    assert [m.text for m in resolve_times("2023-05-08 qapla", ANCHOR, language="tlh")] == [
        "2023-05-08"
    ]


def test_letters_that_grow_when_lowered_do_not_shift_the_words() -> None:
    assert [m.text for m in resolve_times("İİİ İstanbul last month", ANCHOR)] == ["last month"]


def test_a_mention_survives_pickling_whole() -> None:
    (mention,) = resolve_times("on 8 May", ANCHOR)
    assert pickle.loads(pickle.dumps(mention)) == mention


@pytest.mark.parametrize(
    "unit",
    [
        "5 ",
        "in 5     ",
        "last ",
        "may ",
        "1-",
        "2023-05-",
        "一",
        "上",
        "三个",
        "12:",
        " " * 50,
        "from ",
    ],
)
def test_crafted_texts_take_linear_time(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    # Of this process's own time: the machine may be busy.
    begun = time.process_time()
    resolve_times(text, ANCHOR)
    assert time.process_time() - begun < 10
