"""Chinese and German questions in a dialogue (READ-2)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memos_ray.core.reader.turns import Rewriting, Turn, rewrite

NOW = datetime(2025, 8, 20, 12, tzinfo=UTC)


def asked(*said: str) -> Rewriting:
    """Rewrites the last of what is said; questions and answers take turns, beginning with one."""
    turns = [Turn(text, place % 2 == 0) for place, text in enumerate(said[:-1])]
    return rewrite(said[-1], turns, NOW, UTC)


@pytest.mark.parametrize(
    ("question", "answer", "follow_up", "alone"),
    [
        ("王芳什么时候去上海?", "五月。", "她在那里学了什么?", "王芳在上海学了什么?"),
        ("谁送了李明一把琴?", "邵老师。", "他多大年纪?", "邵老师多大年纪?"),
        ("王芳的妹妹开了什么店?", "面馆。", "她卖什么?", "王芳的妹妹卖什么?"),
        ("李明养了什么?", "一只狗。", "它几岁?", "狗几岁?"),
        ("李明和王芳搬到厦门了吗?", "是。", "他们住在哪里?", "李明和王芳住在哪里?"),
        ("李明搬到厦门了吗?", "是。", "那里的房东是谁?", "厦门的房东是谁?"),
        ("李明三月做了什么?", "修书。", "当时王芳在哪里?", "三月王芳在哪里?"),
        ("小明和小红谁大?", "小明。", "另一个几岁?", "小红几岁?"),
    ],
)
def test_READ_2_chinese_pronouns_are_filled_in(
    question: str, answer: str, follow_up: str, alone: str
) -> None:
    assert asked(question, answer, follow_up).text == alone


@pytest.mark.parametrize(
    ("question", "answer", "follow_up", "alone"),
    [
        ("李明三月做了什么?", "修书。", "四月呢?", "李明四月做了什么?"),
        ("李明什么时候去北京?", "五月。", "那王芳呢?", "王芳什么时候去北京?"),
        ("李明什么时候去北京?", "五月。", "好的, 为什么?", "李明为什么去北京\uff1f"),
        ("李明什么时候去北京?", "五月。", "待了多久?", "李明去北京\uff0c待了多久\uff1f"),
        ("李明弄伤了膝盖吗?", "是的。", "严重吗?", "李明弄伤了膝盖\uff0c严重吗\uff1f"),
        ("李明弄伤了膝盖吗?", "是的。", "什么时候?", "李明什么时候弄伤了膝盖\uff1f"),
        ("李明送了王芳什么?", "书。", "还有什么?", "除此之外\uff0c李明送了王芳什么\uff1f"),
    ],
)
def test_READ_2_chinese_fragments_are_completed(
    question: str, answer: str, follow_up: str, alone: str
) -> None:
    assert asked(question, answer, follow_up).text == alone


@pytest.mark.parametrize(
    "alone",
    [
        "今天天气怎么样?",
        "其他人喜欢什么?",
        "王芳住在哪里?",
        "他喜欢吉他吗?",
        "记住我喜欢茶",
        "谢谢",
    ],
)
def test_READ_2_chinese_that_stands_alone_or_finds_nobody_is_left(alone: str) -> None:
    assert asked("今天下雨吗?", "不下。", alone).text == alone


def test_READ_2_two_named_together_are_told_apart_by_nothing() -> None:
    found = asked("李明和王强认识吗?", "认识。", "他住在哪里?")
    assert found.text == "他住在哪里?"
    assert "ambiguous" in found.decisions[0].reason


@pytest.mark.parametrize(
    ("question", "answer", "follow_up", "alone"),
    [
        ("Wann hat Ingrid geheiratet?", "In Duluth.", "Und Bram?", "Wann hat Bram geheiratet?"),
        ("Wann hat Ingrid geheiratet?", "Gestern.", "Warum?", "Warum hat Ingrid geheiratet?"),
        ("Was hat Bram im März gemacht?", "x", "Und im April?", "Was hat Bram im April gemacht?"),
        ("Wo wohnt Bram?", "In Bristol.", "Was macht er dort?", "Was macht Bram in Bristol?"),
        ("Was hat Bram im März gemacht?", "x", "Wo war Ann damals?", "Wo war Ann im März?"),
    ],
)
def test_READ_2_german_follow_ups(question: str, answer: str, follow_up: str, alone: str) -> None:
    assert asked(question, answer, follow_up).text == alone
