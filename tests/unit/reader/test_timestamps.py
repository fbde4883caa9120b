"""Time fields: one moment, in the shapes that sources write it in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from memos_ray.core.reader.timestamps import parse_timestamp

CET = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2023-05-08T13:56:00Z", "2023-05-08T13:56:00+00:00"),
        ("2023-05-08T13:56:00+02:00", "2023-05-08T11:56:00+00:00"),
        ("2023-05-08 13:56", "2023-05-08T12:56:00+00:00"),
        ("2023-05-08", "2023-05-07T23:00:00+00:00"),
        ("20230508", "2023-05-07T23:00:00+00:00"),
        ("Mon, 08 May 2023 13:56:00 +0200", "2023-05-08T11:56:00+00:00"),
        ("Mon, 08 May 2023 13:56:00 GMT", "2023-05-08T13:56:00+00:00"),
        ("1:56 pm on 8 May, 2023", "2023-05-08T12:56:00+00:00"),
        ("March-15-2024", "2024-03-14T23:00:00+00:00"),
        ("5/8/2023", "2023-05-07T23:00:00+00:00"),
        ("2023年5月8日", "2023-05-07T23:00:00+00:00"),
        ("May 2023", "2023-04-30T23:00:00+00:00"),
        ("2023", "2022-12-31T23:00:00+00:00"),
        (2023, "2022-12-31T23:00:00+00:00"),
        (1683554160, "2023-05-08T13:56:00+00:00"),
        ("1683554160", "2023-05-08T13:56:00+00:00"),
        (1683554160.5, "2023-05-08T13:56:00.500000+00:00"),
        (1683554160000, "2023-05-08T13:56:00+00:00"),
        (1683554160000000, "2023-05-08T13:56:00+00:00"),
        (1683554160000000000, "2023-05-08T13:56:00+00:00"),
        ("  2023-05-08\n ", "2023-05-07T23:00:00+00:00"),
    ],
)
def test_shapes_of_one_moment(value: object, expected: str) -> None:
    found = parse_timestamp(value, CET)
    assert found == datetime.fromisoformat(expected)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "yesterday",
        "next week",
        "between May and June 2023",
        "version 1.2.3",
        "2023-13-45",
        "8 May",
        "x" * 101,
        True,
        None,
        [2023],
        0,
        12345,
        1e30,
        -1e30,
        float("nan"),
        "9999-12-31T23:59:59-23:00",
    ],
)
def test_what_names_no_moment_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|number|epoch"):
        parse_timestamp(value, CET)
