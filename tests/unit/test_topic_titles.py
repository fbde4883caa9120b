"""OPER-1: what is taken of a model's titles for topics."""

from __future__ import annotations

import json

import pytest

from memos_ray.core.organising.titles import key_of, titles_of, titles_prompt

MUSIC = (("guitar", "concert"), ("guitar", "hall", "Lisbon"))
GARDEN = (("tomatoes", "garden"), ("beans",))


def said(*titles: tuple[str, str]) -> str:
    return json.dumps({"titles": [{"id": id, "title": title} for id, title in titles]})


def test_OPER_1_titles_are_taken_by_their_ids() -> None:
    answer = said(("t1", "growing vegetables"), ("t0", "concerts in Lisbon"))
    assert titles_of(answer, [MUSIC, GARDEN]) == ["concerts in Lisbon", "growing vegetables"]


@pytest.mark.parametrize(
    "title",
    [
        "",
        "  ",
        "music with Miranda",
        "music of 2024",
        "<b>music</b>",
        "see https://example.org",
        "one two three four five six seven",
        "m" * 61,
    ],
)
def test_OPER_1_a_title_with_more_than_the_words_tell_is_refused(title: str) -> None:
    assert titles_of(said(("t0", title)), [MUSIC]) == [None]


@pytest.mark.parametrize("answer", ["", "[]", "{}", '{"titles": 3}', '{"titles": [{"id": "t0"}]}'])
def test_OPER_1_an_answer_of_another_shape_has_no_titles(answer: str) -> None:
    assert titles_of(answer, [MUSIC, GARDEN]) == [None, None]


def test_OPER_1_german_nouns_are_no_names() -> None:
    words = (("Garten", "Tomaten", "gießen"), ("Bohnen", "Schnecken"))
    assert titles_of(said(("t0", "alles über Gemüse")), [words]) == ["alles über Gemüse"]


def test_OPER_1_a_prompt_has_the_words_and_the_title_of_one_tenant_is_no_others() -> None:
    prompt = titles_prompt("one", [MUSIC, GARDEN], "salt")
    shown = json.loads(prompt.messages[1].text)
    assert [one["words"] for one in shown] == [["guitar", "concert"], ["tomatoes", "garden"]]
    assert key_of("acme", MUSIC) != key_of("other", MUSIC)
