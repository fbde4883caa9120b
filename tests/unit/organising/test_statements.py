"""What is read as a statement about now, and what is not."""

from __future__ import annotations

import pytest

from memos_ray.core.organising import statements


@pytest.mark.parametrize(
    ("text", "subject", "slot", "value", "changes"),
    [
        ("I live in Oslo.", "sue", "residence", "oslo", False),
        ("Hi! I moved to Berlin last month, it is lovely.", "sue", "residence", "berlin", True),
        ("Ann lives in Oslo with her cat.", "ann", "residence", "oslo", False),
        ("My sister moved to New York in 2022!", "sue's sister", "residence", "new york", True),
        ("I work at Google now.", "sue", "work", "google", False),
        ("I've just started working at Acme Corp.", "sue", "work", "acme corp", True),
        ("My favorite food is now sushi.", "sue", "favourite food", "sushi", True),
        ("I don't like tea any more.", "sue", "opinion of tea", "dislikes", True),
        ("The deadline for the Apollo report is 3 June.", "apollo report", "deadline", "3 june", 0),
        ("Project Apollo is on hold.", "project apollo", "status", "on hold", False),
        ("I got divorced last year.", "sue", "relationship", "divorced", False),
        ("My phone number is 555-1234.", "sue", "phone number", "555 1234", False),
        ("我现在搬到了上海。", "sue", "residence", "上海", True),
        ("王芳住在北京", "王芳", "residence", "北京", False),
        ("我在腾讯工作", "sue", "work", "腾讯", False),
        ("我最喜欢的食物是火锅。", "sue", "最喜欢的食物", "火锅", False),
        ("我不再喜欢咖啡了。", "sue", "opinion of 咖啡", "dislikes", True),
        ("我的电话是13800000000", "sue", "电话", "13800000000", False),
    ],
)
def test_OPER_4_statements_are_read(
    text: str, subject: str, slot: str, value: str, changes: bool
) -> None:
    (found,) = statements(text, "Sue")
    assert (found.subject, found.slot, " ".join(found.value)) == (subject, slot, value)
    assert found.changes == changes
    assert found.cues


@pytest.mark.parametrize(
    "text",
    [
        "Do I live in Oslo?",
        "I used to live in Rome.",
        "I might move to Paris.",
        "I never lived in Rome.",
        "I want to work at Google.",
        "If I live in Oslo, I freeze.",
        "I love how you painted that.",
        "It is nice here.",
        "我以前住在广州",
        "我想搬到深圳",
        "",
    ],
)
def test_OPER_4_what_is_asked_wished_or_past_is_no_statement(text: str) -> None:
    assert statements(text, "Sue") == []


def test_OPER_4_the_last_word_holds() -> None:
    (found,) = statements("I live in Oslo. No, wait: I moved to Bergen.", "Sue")
    assert found.value == ("bergen",)


def test_OPER_4_a_long_text_costs_no_more_than_its_beginning() -> None:
    assert len(statements("My boss is Tom. I live in Oslo. " * 100_000, "Sue")) == 2
