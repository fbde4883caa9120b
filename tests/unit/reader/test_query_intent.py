"""What a request wants done, in English and in Chinese, and what is left to look for or to keep."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memos_ray.core.reader.query import Intent, MemoryCall, parse

NOW = datetime(2024, 3, 15, 10, tzinfo=UTC)


def call(text: str) -> MemoryCall:
    return parse(text, NOW, UTC)


@pytest.mark.parametrize(
    ("request_", "rest"),
    [
        ("Remember that my sister's birthday is on 8 May", "my sister's birthday is on 8 May"),
        ("please remember: the gate code is 4711", "the gate code is 4711"),
        ("Could you please keep in mind that I am vegetarian?", "I am vegetarian?"),
        ("Don't forget to buy milk", "to buy milk"),
        ("note to self: call the bank", "call the bank"),
        ("Save this: the server moved to rack 12", "the server moved to rack 12"),
        ("add a note that the meeting is at 3pm", "the meeting is at 3pm"),
        ("From now on answer in French", "From now on answer in French"),
        ("记住我妹妹的生日是5月8号", "我妹妹的生日是5月8号"),
        ("请帮我记一下明天下午三点开会", "明天下午三点开会"),
        ("别忘了买牛奶", "买牛奶"),
        ("記住:門的密碼是4711", "門的密碼是4711"),
        ("以后都用中文回答", "以后都用中文回答"),
    ],
)
def test_what_is_to_be_kept(request_: str, rest: str) -> None:
    found = call(request_)
    assert (found.intent, found.text) == (Intent.ADD, rest)
    assert found.time_range is None, "the times belong to what is kept"


@pytest.mark.parametrize(
    "request_",
    [
        "Do you remember when we met Tom?",
        "remember when we went to Rome?",
        "I will never forget the trip to Oslo",
        "What should I remember about the meeting?",
        "where did I save the file?",
        "你还记得我的车停在哪里吗",
        "记得我们去过哪里吗",
        "我永远忘不了奥斯陆",
    ],
)
def test_asking_whether_something_is_remembered_stores_and_deletes_nothing(request_: str) -> None:
    assert call(request_).intent is Intent.RETRIEVE


@pytest.mark.parametrize(
    ("request_", "rest"),
    [
        ("Delete my notes about the old project", "my notes about the old project"),
        ("Forget what I told you about my salary", "what I told you about my salary"),
        ("please remove the entry on taxes", "the entry on taxes"),
        ("don't remember my address", "my address"),
        ("删除关于旧项目的笔记", "关于旧项目的笔记"),
        ("忘掉我说过的工资", "我说过的工资"),
        ("把我的地址删掉", "把我的地址删掉"),
    ],
)
def test_what_is_to_go(request_: str, rest: str) -> None:
    found = call(request_)
    assert (found.intent, found.text) == (Intent.DELETE, rest)


@pytest.mark.parametrize(
    ("request_", "intent"),
    [
        ("Update my address to 12 Elm Street", Intent.UPDATE),
        ("change my dentist appointment from Monday to Friday", Intent.UPDATE),
        ("set up a meeting", Intent.RETRIEVE),
        ("把会议改成周五", Intent.UPDATE),
        ("更新一下我的电话", Intent.UPDATE),
        ("Share this note with @bob", Intent.SHARE),
        ("make the recipe public", Intent.SHARE),
        ("give Tom access to my travel notes", Intent.SHARE),
        ("把这条笔记分享给李明", Intent.SHARE),
        ("我和她共享的笔记里有什么", Intent.RETRIEVE),
        ("Summarize our conversation with Acme in May 2023", Intent.SUMMARISE),
        ("give me a short overview of the project", Intent.SUMMARISE),
        ("总结一下上个月的会议", Intent.SUMMARISE),
        ("Compare the offers from Acme and Globex", Intent.COMPARE),
        ("what is the difference between plan A and plan B?", Intent.COMPARE),
        ("这两个方案有什么区别", Intent.COMPARE),
        ("Who changed this memory?", Intent.AUDIT),
        ("how do you know that I like tea?", Intent.AUDIT),
        ("谁改过这条记忆", Intent.AUDIT),
        ("你怎么知道我喜欢喝茶", Intent.AUDIT),
        ("list all my notes tagged #travel", Intent.LIST),
        ("show me the last 3 memories about Rome", Intent.LIST),
        ("列出所有关于旅行的记忆", Intent.LIST),
    ],
)
def test_the_other_intents(request_: str, intent: Intent) -> None:
    assert call(request_).intent is intent


@pytest.mark.parametrize(
    ("request_", "confidence"),
    [
        ("find the recipe for soup", 0.9),
        ("What did Ann cook?", 0.8),
        ("安妮做了什么菜", 0.8),
        ("soup recipe", 0.5),
        ("汤的做法", 0.5),
    ],
)
def test_everything_else_is_looked_for(request_: str, confidence: float) -> None:
    found = call(request_)
    assert (found.intent, found.confidence) == (Intent.RETRIEVE, confidence)


def test_a_pasted_text_is_no_command() -> None:
    pasted = "Minutes of the board. " * 40 + "Delete everything and forget it."
    found = call(pasted)
    assert found.intent is Intent.RETRIEVE
    assert found.text.endswith("forget it.")


def test_of_a_very_long_request_only_the_beginning_is_parsed_and_all_of_it_kept() -> None:
    long = "What did Ann cook? " + "word " * 2000 + "in May 2021"
    found = call(long)
    assert found.time_range is None
    assert found.text.endswith("in May 2021") and found.text.startswith("What did Ann cook?")


@pytest.mark.parametrize("request_", ["remember", "delete", "as json", "top 5", "?", "  ", "删除"])
def test_words_that_would_leave_nothing_are_kept(request_: str) -> None:
    assert call(request_).text == request_.strip()


def test_the_moment_of_a_request_needs_its_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        parse("yesterday", datetime(2024, 3, 15), UTC)


def test_every_slot_says_which_words_filled_it() -> None:
    found = parse(
        "list the top 3 notes about the budget from May 2023 in namespace team/x as json",
        NOW,
        UTC,
    )
    slots = {reason.partition(":")[0] for reason in found.reasons}
    assert slots >= {"intent", "time_range", "topics", "limit", "scope", "target"}
