"""Every slot of a request, in both languages (READ-1)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.query import EntityKind, Intent, MemoryCall, Reach, Target, parse

NOW = datetime(2024, 3, 15, 10, tzinfo=UTC)


def call(text: str, *participants: str) -> MemoryCall:
    return parse(text, NOW, UTC, participants)


@pytest.mark.parametrize(
    ("intent", "english", "chinese"),
    [
        (Intent.RETRIEVE, "Where does Ann live?", "王芳住在哪里?"),
        (Intent.ADD, "Remember that I like tea", "记住我喜欢喝茶"),
        (Intent.UPDATE, "Update my address to Main Street 5", "把我的地址改成长安街5号"),
        (Intent.DELETE, "Delete everything about Tom", "删除关于王芳的记忆"),
        (Intent.SUMMARISE, "Summarise my notes about the trip", "总结一下上个月的会议"),
        (Intent.COMPARE, "Compare the two offers", "比较一下这两个方案"),
        (Intent.AUDIT, "Who changed this memory?", "谁修改了这条记忆?"),
        (Intent.LIST, "List all my notes", "列出我的笔记"),
        (Intent.SHARE, "Share this note with Tom", "把这条笔记分享给王芳"),
    ],
)
def test_READ_1_intents(intent: Intent, english: str, chinese: str) -> None:
    for text in (english, chinese):
        found = call(text)
        assert found.intent is intent
        assert 0 < found.confidence <= 1
        assert found.reasons[0].startswith("intent: ")
    assert call(english).language == "en" and call(chinese).language == "zh"


def test_READ_1_an_explicit_command_is_surer_than_a_guess() -> None:
    for command, phrase in (("Remember that I like tea", "tea"), ("记住我喜欢茶", "茶")):
        assert call(command).confidence > call(phrase).confidence


@pytest.mark.parametrize(
    ("text", "first", "behind"),
    [
        ("What happened in May 2023?", date(2023, 5, 1), date(2023, 6, 1)),
        ("What happened last month?", date(2024, 2, 1), date(2024, 3, 1)),
        ("2023年5月发生了什么?", date(2023, 5, 1), date(2023, 6, 1)),
        ("去年发生了什么?", date(2023, 1, 1), date(2024, 1, 1)),
        ("上个月发生了什么?", date(2024, 2, 1), date(2024, 3, 1)),
    ],
)
def test_READ_1_time_ranges_absolute_and_relative(text: str, first: date, behind: date) -> None:
    found = call(text)
    assert found.time_range is not None
    assert (found.time_range.start.date(), found.time_range.end.date()) == (first, behind)
    assert found.times == (found.time_range,)


@pytest.mark.parametrize("text", ["When did Ann move?", "王芳什么时候搬家的?"])
def test_READ_1_whether_a_time_is_asked_for(text: str) -> None:
    assert call(text).time_asked
    assert any(one.startswith("time_asked: ") for one in call(text).reasons)


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("Where does ann live?", "Ann", EntityKind.PARTICIPANT),
        ("ask @tom_b about it", "tom_b", EntityKind.HANDLE),
        ('Who wrote "The Salt Ledger"?', "The Salt Ledger", EntityKind.QUOTED),
        ("Has Clara met Tom?", "Clara", EntityKind.NAME),
        ("王芳的生日是哪天?", "王芳", EntityKind.NAME),
        ("谁写了《红楼梦》?", "红楼梦", EntityKind.QUOTED),
    ],
)
def test_READ_1_entities(text: str, name: str, kind: EntityKind) -> None:
    assert (name, kind) in {(one.text, one.kind) for one in call(text, "Ann").entities}


@pytest.mark.parametrize(
    ("text", "topic"),
    [("What did we say about the budget?", "budget"), ("关于预算我说过什么?", "预算")],
)
def test_READ_1_topics(text: str, topic: str) -> None:
    assert any(topic in one for one in call(text).topics)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What does Ann like?", SemanticType.PREFERENCE),
        ("How do I reset the router?", SemanticType.PROCEDURE),
        ("What does the manual say?", SemanticType.DOCUMENT),
        ("王芳喜欢什么?", SemanticType.PREFERENCE),
        ("如何重启路由器?", SemanticType.PROCEDURE),
        ("文档里怎么说?", SemanticType.DOCUMENT),
    ],
)
def test_READ_1_memory_types(text: str, kind: SemanticType) -> None:
    assert kind in call(text).semantic_types


@pytest.mark.parametrize(
    ("text", "anchor"),
    [
        ("What did we decide in our last meeting?", "last meeting"),
        ("上次会议我们决定了什么?", "上次会议"),
    ],
)
def test_READ_1_contextual_anchors(text: str, anchor: str) -> None:
    assert any(anchor in one for one in call(text).anchors)


@pytest.mark.parametrize(
    ("text", "reach", "namespaces"),
    [
        ("search in my notes for the key", Reach.MINE, ()),
        ("what do our shared notes say about it", Reach.ALL, ()),
        ("look in the team's notes for the key", Reach.SHARED, ()),
        ("find the key in namespace team/a", Reach.ALL, ("team/a",)),
        ("在我的笔记里找钥匙", Reach.MINE, ()),
        ("在团队的笔记里找钥匙", Reach.SHARED, ()),
        ("在命名空间 team/a 里找钥匙", Reach.ALL, ("team/a",)),
    ],
)
def test_READ_1_scope(text: str, reach: Reach, namespaces: tuple[str, ...]) -> None:
    found = call(text).scope
    assert (found.reach, found.namespaces) == (reach, namespaces)


@pytest.mark.parametrize(
    ("text", "target", "limit"),
    [
        ("top 3 notes about tea as a table", Target.TABLE, 3),
        ("give me the facts as json", Target.JSON, None),
        ("列出最近的5条笔记", Target.LIST, 5),
        ("用表格形式给我看前3条笔记", Target.TABLE, 3),
        ("Where is the key?", Target.TEXT, None),
    ],
)
def test_READ_1_output_target_and_limit(text: str, target: Target, limit: int | None) -> None:
    found = call(text)
    assert (found.target, found.limit) == (target, limit)
