"""Times, limits, places, forms, topics and anchors that a request names."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.query import MemoryCall, Reach, Target, parse

NOW = datetime(2024, 3, 15, 10, tzinfo=UTC)


def call(text: str, *tags: str) -> MemoryCall:
    return parse(text, NOW, UTC, known_tags=tags)


@pytest.mark.parametrize(
    ("request_", "first", "behind"),
    [
        ("What did I say about the budget last month?", date(2024, 2, 1), date(2024, 3, 1)),
        ("What are Caroline's plans for the summer of 2022?", date(2022, 6, 1), date(2022, 9, 1)),
        ("where was I yesterday", date(2024, 3, 14), date(2024, 3, 15)),
        ("trips between January and March 2023", date(2023, 1, 1), date(2023, 4, 1)),
        ("notes from 8 May 2023", date(2023, 5, 8), date(2023, 5, 9)),
        ("去年我去了哪里", date(2023, 1, 1), date(2024, 1, 1)),
        ("上个月的会议说了什么", date(2024, 2, 1), date(2024, 3, 1)),
        ("2023年5月的事件有哪些", date(2023, 5, 1), date(2023, 6, 1)),
    ],
)
def test_a_time_restricts_a_question(request_: str, first: date, behind: date) -> None:
    span = call(request_).time_range
    assert span is not None
    assert (span.start.date(), span.end.date()) == (first, behind)


def test_several_times_are_covered_by_one_range() -> None:
    found = call("what happened in May 2022 and in March 2023?")
    assert [time.text for time in found.times] == ["May 2022", "March 2023"]
    assert found.time_range is not None
    assert found.time_range.start.date() == date(2022, 5, 1)
    assert found.time_range.end.date() == date(2023, 4, 1)


def test_a_day_without_a_year_is_a_guess() -> None:
    span = call("what did we do on 8 May?").time_range
    assert span is not None and span.year_guessed


def test_days_begin_in_the_zone_of_the_caller() -> None:
    tokyo = timezone(timedelta(hours=9))
    late = datetime(2024, 3, 15, 20, tzinfo=UTC)
    span = parse("what did I do today?", late, tokyo).time_range
    assert span is not None
    assert span.start == datetime(2024, 3, 15, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    "request_",
    [
        "When did Ann move to Berlin?",
        "How long have I had the car?",
        "which day was the party",
        "how old is Tom",
        "张伟什么时候搬到上海的",
        "会议是几号",
        "我住在这里多久了",
    ],
)
def test_questions_for_a_time(request_: str) -> None:
    assert call(request_).time_asked


@pytest.mark.parametrize(
    "request_",
    [
        "What did Ann say when she moved?",
        "the time of my life",
        "他什么时候都很忙",
        "I was ill last week",
    ],
)
def test_questions_for_something_else(request_: str) -> None:
    assert not call(request_).time_asked


@pytest.mark.parametrize(
    ("request_", "limit", "rest"),
    [
        ("top 5 results about Python", 5, "about Python"),
        ("at most three items about cooking", 3, "about cooking"),
        ("limit to 10: places in Rome", 10, "places in Rome"),
        ("what are the last three memories about Rome", 3, None),
        ("前5条关于旅行的记忆", 5, None),
        ("最近的三条记录", 3, None),
    ],
)
def test_limits(request_: str, limit: int, rest: str | None) -> None:
    found = call(request_)
    assert found.limit == limit
    assert rest is None or found.text == rest


@pytest.mark.parametrize(
    "request_",
    [
        "what are the top 5% of runners",
        "the last 3 days",
        "最近的3个月",
        "the first two chapters of the book",
        "limit to 0 results",
        "three notes",
    ],
)
def test_numbers_that_are_no_limits(request_: str) -> None:
    assert call(request_).limit is None


@pytest.mark.parametrize(
    ("request_", "names", "rest"),
    [
        (
            "find pandas in namespace user:ann/work",
            ("user:ann/work",),
            "pandas",
        ),
        ("pandas in the namespace 'ward'", ("ward",), "pandas"),
        ("pandas in the ward-2 namespace.", ("ward-2",), "pandas."),
        ("namespace: library pandas", ("library",), "pandas"),
        ("在命名空间 user:ann/work 里搜索合同", ("user:ann/work",), "合同"),
        ("从命名空间library里的合同", ("library",), "合同"),
    ],
)
def test_namespaces(request_: str, names: tuple[str, ...], rest: str) -> None:
    found = call(request_)
    assert (found.scope.namespaces, found.text) == (names, rest)


def test_names_of_places_are_no_names_of_people() -> None:
    found = parse("find pandas in namespace user:ann/work", NOW, UTC, participants=("Ann",))
    assert found.entities == ()


@pytest.mark.parametrize(
    ("request_", "reach"),
    [
        ("in my notes, where is the spare key?", Reach.MINE),
        ("delete my notes about taxes", Reach.MINE),
        ("what is said in our team's documents about leave", Reach.SHARED),
        ("search across all namespaces for keys", Reach.ALL),
        ("where is the spare key?", Reach.ALL),
        ("在我的笔记里找一下钥匙", Reach.MINE),
        ("团队的文档里怎么说", Reach.SHARED),
        ("在所有的笔记里找钥匙", Reach.ALL),
    ],
)
def test_reach(request_: str, reach: Reach) -> None:
    assert call(request_).scope.reach is reach


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        ("places in Rome as json", Target.JSON),
        ("as a table: which restaurants did we visit", Target.TABLE),
        ("give me the ingredients as bullet points", Target.LIST),
        ("list all places", Target.LIST),
        ("where is the dining table", Target.TEXT),
        ("用表格列出事件", Target.TABLE),
        ("以json格式返回地址", Target.JSON),
        ("地址是什么", Target.TEXT),
    ],
)
def test_forms_of_the_answer(request_: str, target: Target) -> None:
    assert call(request_).target is target


@pytest.mark.parametrize(
    ("request_", "topics"),
    [
        ("What did I say about the budget last month?", ("budget",)),
        ("notes on the subject of solar panels", ("solar panels",)),
        ("what do you know about me", ()),
        ("what is this about?", ()),
        ("what did she write about for the magazine", ()),
        ("everything tagged #travel and #food-2023", ("travel", "food-2023")),
        ("列出所有关于旅行的记忆", ("旅行",)),
        ("有关预算,说了什么", ("预算",)),
    ],
)
def test_topics(request_: str, topics: tuple[str, ...]) -> None:
    assert call(request_).topics == topics


def test_known_tags_are_topics_where_they_stand_alone() -> None:
    assert call("any news on art?", "art", "Party").topics == ("art",)
    assert call("the party starts at nine", "art", "party").topics == ("party",)


@pytest.mark.parametrize(
    ("request_", "anchors"),
    [
        ("What happened at our last meeting?", ("at our last meeting",)),
        ("as I said before, the key is here", ("as I said before",)),
        ("what did we drink the other night", ("the other night",)),
        ("我们上次会议说了什么", ("我们上次会议",)),
        ("刚才说的地址在哪", ("刚才说的",)),
        ("the meeting is on Monday", ()),
    ],
)
def test_anchors_that_only_the_context_resolves(request_: str, anchors: tuple[str, ...]) -> None:
    assert call(request_).anchors == anchors


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ("what does Melanie like to do?", SemanticType.PREFERENCE),
        ("how do I install the driver", SemanticType.PROCEDURE),
        ("what do the manuals say", SemanticType.DOCUMENT),
        ("which outages happened in May", SemanticType.EVENT),
        ("what did she say to Tom", SemanticType.EPISODE),
        ("她喜欢吃什么", SemanticType.PREFERENCE),
        ("怎么安装驱动", SemanticType.PROCEDURE),
        ("我们讨论过什么", SemanticType.EPISODE),
    ],
)
def test_kinds_of_memory(request_: str, kind: SemanticType) -> None:
    assert kind in call(request_).semantic_types


def test_no_kind_is_made_up() -> None:
    assert call("where is the key?").semantic_types == frozenset()
