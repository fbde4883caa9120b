"""Names in a request: known, addressed, quoted, or written like names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memos_ray.core.reader.query import EntityKind, parse

NOW = datetime(2024, 3, 15, 10, tzinfo=UTC)


def names(text: str, *participants: str) -> list[tuple[str, str]]:
    found = parse(text, NOW, UTC, participants=participants).entities
    return [(entity.text, entity.kind.value) for entity in found]


def test_participants_are_found_in_any_case_and_as_they_are_spelled() -> None:
    assert names("what did ANN tell tom?", "Ann", "Tom") == [
        ("Ann", EntityKind.PARTICIPANT),
        ("Tom", EntityKind.PARTICIPANT),
    ]
    assert names("tomatoes and annual plans", "Ann", "Tom") == []
    assert names("安妮昨天说了什么", "安妮") == [("安妮", EntityKind.PARTICIPANT)]


def test_the_longer_name_wins() -> None:
    assert names("ask mary ann about it", "Ann", "Mary Ann") == [
        ("Mary Ann", EntityKind.PARTICIPANT)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Share it with @bob and @ann.lee", ["bob", "ann.lee"]),
        ("mail ann@example.org", []),
        ("@小明 在吗", ["小明"]),
    ],
)
def test_handles(text: str, expected: list[str]) -> None:
    assert [name for name, kind in names(text) if kind == EntityKind.HANDLE] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('search for "blue door"', ["blue door"]),
        ("the book \u201cDune\u201d and \u2018The Sea\u2019", ["Dune", "The Sea"]),
        ("it's Tom's and Ann's", []),
        ("《红楼梦》和「雪国」", ["红楼梦", "雪国"]),
        ('an empty "" quotation', []),
    ],
)
def test_quotations(text: str, expected: list[str]) -> None:
    assert [name for name, kind in names(text) if kind == EntityKind.QUOTED] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "What did John F. Kennedy say to Dr. Smith in New York?",
            ["John F. Kennedy", "Dr. Smith", "New York"],
        ),
        ("Caroline's plans", ["Caroline"]),
        ("Melanie went home", ["Melanie"]),
        ("Apples are cheap", []),
        ("What about the University of Oslo?", ["University of Oslo"]),
        ("I met Jean-Luc on Monday in May", ["Jean-Luc"]),
        ("When was the U.S. visit?", ["U.S."]),
        ("does my iPhone work?", ["iPhone"]),
        ("Please Remind Me", []),
        ("did Zoë meet Søren", ["Zoë", "Søren"]),
    ],
)
def test_names_are_written_with_capitals(text: str, expected: list[str]) -> None:
    assert [name for name, _ in names(text)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("张伟什么时候搬到上海的", ["张伟"]),
        ("去年王芳去了哪里", ["王芳"]),
        ("昨天李明说了什么", ["李明"]),
        ("上个月欧阳娜娜去了北京", ["欧阳娜娜"]),
        ("把这条笔记分享给李明", ["李明"]),
        ("小明喜欢吃什么", ["小明"]),
        ("问王老师和陈医生", ["王老师", "陈医生"]),
        ("我今天很高兴", []),
        ("今天马上开会", []),
        ("周末方便吗", []),
        ("今年夏天去哪里", []),
    ],
)
def test_chinese_names_stand_where_names_stand(text: str, expected: list[str]) -> None:
    assert [name for name, _ in names(text)] == expected


def test_each_name_is_given_once() -> None:
    assert names("Tom and Tom and TOM", "Tom") == [("Tom", EntityKind.PARTICIPANT)]


def test_a_pasted_text_does_not_name_hundreds() -> None:
    text = " and ".join(f"Person{number} Smith" for number in range(200))
    assert len(names(f"who is {text}")) == 32
