"""Chinese times. The anchor is Wednesday, 10 May 2023, 13:56 UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memos_ray.core.reader.times import EARLIEST, Granularity, resolve_times

ANCHOR = datetime(2023, 5, 10, 13, 56, tzinfo=UTC)


def spans(text: str) -> list[str]:
    return [f"{m.start:%Y-%m-%d}/{m.end:%Y-%m-%d}" for m in resolve_times(text, ANCHOR)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我昨天去了", "2023-05-09/2023-05-10"),
        ("前天", "2023-05-08/2023-05-09"),
        ("大前天", "2023-05-07/2023-05-08"),
        ("明天", "2023-05-11/2023-05-12"),
        ("後天", "2023-05-12/2023-05-13"),
        ("三天前", "2023-05-07/2023-05-08"),
        ("十二天之前", "2023-04-28/2023-04-29"),
        ("两年后", "2025-01-01/2026-01-01"),
        ("半年前", "2022-11-01/2022-12-01"),
        ("三个月前", "2023-02-01/2023-03-01"),
        ("几天前", "2023-05-01/2023-05-09"),
        ("上周", "2023-05-01/2023-05-08"),
        ("上上周", "2023-04-24/2023-05-01"),
        ("上周五", "2023-05-05/2023-05-06"),
        ("这周三", "2023-05-10/2023-05-11"),
        ("下个星期一", "2023-05-15/2023-05-16"),
        ("上個禮拜五", "2023-05-05/2023-05-06"),
        ("本周末", "2023-05-13/2023-05-15"),
        ("上周末", "2023-05-06/2023-05-08"),
        ("周末我们去爬山了", "2023-05-06/2023-05-08"),
        ("我们周五开会讨论了", "2023-05-05/2023-05-06"),
        ("我周五会去", "2023-05-12/2023-05-13"),
        ("星期天", "2023-05-07/2023-05-08"),
        ("上个月", "2023-04-01/2023-05-01"),
        ("上月底", "2023-04-21/2023-05-01"),
        ("下个月5号", "2023-06-05/2023-06-06"),
        ("去年", "2022-01-01/2023-01-01"),
        ("前年", "2021-01-01/2022-01-01"),
        ("去年5月", "2022-05-01/2022-06-01"),
        ("去年年底", "2022-11-01/2023-01-01"),
        ("去年上半年", "2022-01-01/2022-07-01"),
        ("今年春天", "2023-03-01/2023-06-01"),
        ("2022年冬天", "2022-12-01/2023-03-01"),
        ("2023年", "2023-01-01/2024-01-01"),
        ("2023年5月", "2023-05-01/2023-06-01"),
        ("2023年5月8日", "2023-05-08/2023-05-09"),
        ("二零二三年五月", "2023-05-01/2023-06-01"),
        ("5月8号", "2023-05-08/2023-05-09"),
        ("十二月", "2022-12-01/2023-01-01"),
        ("十月一日", "2022-10-01/2022-10-02"),
        ("第一季度", "2023-01-01/2023-04-01"),
        ("上个季度", "2023-01-01/2023-04-01"),
        ("90年代", "1990-01-01/2000-01-01"),
        ("八十年代", "1980-01-01/1990-01-01"),
        ("最近三个月", "2023-02-10/2023-05-11"),
        ("过去两周", "2023-04-26/2023-05-11"),
        ("近半年", "2022-11-10/2023-05-11"),
        ("2020年以来", "2020-01-01/2023-05-11"),
        ("2019年至今", "2019-01-01/2023-05-11"),
        ("从2020年3月到2021年5月", "2020-03-01/2021-06-01"),
        ("2022年3月到5月之间", "2022-03-01/2022-06-01"),
    ],
)
def test_one_span(text: str, expected: str) -> None:
    assert spans(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "三年级",
        "2023年级别",
        "年轻人",
        "岁月静好",
        "以前天气很好",
        "晚上周杰伦唱歌",
        "每周五",
        "这一天",
        "周末愉快",
        "日本周刊",
        "三个月大的孩子",
        "一周年纪念",
        "当前目录",
        "星星和月亮",
        "他住在六号楼",
    ],
)
def test_no_time_is_read_into_ordinary_words(text: str) -> None:
    assert spans(text) == []


@pytest.mark.parametrize(
    ("text", "start", "granularity"),
    [
        ("昨天下午三点半", datetime(2023, 5, 9, 15, 30, tzinfo=UTC), Granularity.MINUTE),
        ("昨晚八点", datetime(2023, 5, 9, 20, tzinfo=UTC), Granularity.HOUR),
        ("昨晚十二点", datetime(2023, 5, 10, 0, tzinfo=UTC), Granularity.HOUR),
        ("5月8日上午9:15", datetime(2023, 5, 8, 9, 15, tzinfo=UTC), Granularity.MINUTE),
        ("今晚", datetime(2023, 5, 10, 18, tzinfo=UTC), Granularity.DAYPART),
        ("明天早上", datetime(2023, 5, 11, 5, tzinfo=UTC), Granularity.DAYPART),
        ("两小时前", datetime(2023, 5, 10, 11, tzinfo=UTC), Granularity.HOUR),
    ],
)
def test_times_of_day(text: str, start: datetime, granularity: Granularity) -> None:
    (mention,) = resolve_times(text, ANCHOR)
    assert (mention.start, mention.granularity) == (start, granularity)


def test_before_a_month_is_open() -> None:
    (mention,) = resolve_times("2020年之前", ANCHOR)
    assert (mention.start, mention.end) == (EARLIEST, datetime(2020, 1, 1, tzinfo=UTC))


def test_both_languages_in_one_text() -> None:
    text = "去年 we met Tom, and 上个月 again in Paris, yesterday too"
    assert [m.text for m in resolve_times(text, ANCHOR)] == ["去年", "上个月", "yesterday"]
