"""PIPE-1: what a pipeline may say, and what its texts and conditions may name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.pipeline.conditions import holds
from memos_ray.core.pipeline.definition import order, read_definition
from memos_ray.core.pipeline.hooks import allowed
from memos_ray.core.pipeline.templates import paths_in, render
from memos_ray.errors import InvalidFilterError, InvalidInputError, PayloadTooLargeError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIND = {"kind": "retrieve", "id": "facts", "query": "{params.case}"}


def document(*steps: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    return {"name": "case", "parameters": {"case": {}, **parameters}, "steps": [*steps]}


def test_PIPE_1_steps_follow_one_another_unless_they_say_what_they_need() -> None:
    spec = read_definition(
        document(
            FIND,
            {"kind": "augment", "id": "text", "template": "{facts.text}"},
            {"kind": "tag", "id": "mark", "of": "facts", "tags": ["seen"], "needs": ["facts"]},
        )
    )
    assert spec.needs() == {"facts": (), "text": ("facts",), "mark": ("facts",)}
    assert order(spec.needs()) == ["facts", "text", "mark"]
    assert spec.earlier("mark") == {"facts"}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([FIND, FIND], "one id"),
        ([{**FIND, "needs": ["facts"]}], "circle"),
        ([{**FIND, "needs": ["other"]}], "no such step"),
        ([{**FIND, "id": "item"}], "called"),
        ([{"kind": "retrieve", "id": "facts"}], "ids, a query or a filter"),
        ([{**FIND, "query": "{other.text}"}], "not known"),
        ([{**FIND, "query": "{params.other}"}], "not known"),
        ([{**FIND, "query": "{item.text}"}], "not known"),
        ([{**FIND, "turns": [{"content": "{other.text}"}]}], "not known"),
        ([{"kind": "retrieve", "id": "f", "ids": ["a"], "turns": [{"content": "x"}]}], "turns"),
        ([{**FIND, "query": "{params.case"}], "brace"),
        ([{**FIND, "query": "{params.case.__class__}"}], "brace"),
        ([{**FIND, "filter": "nonsense >"}], "step facts"),
        ([{**FIND, "when": "later.count > 0"}], "not known"),
        ([FIND, {"kind": "tag", "id": "t", "of": "gone", "tags": ["x"]}], "before it"),
        ([{"kind": "launch", "id": "x"}], "kind"),
        ([{**FIND, "shell": "rm"}], "Extra inputs"),
        (
            [
                FIND,
                {"kind": "augment", "id": "a", "template": "x"},
                {"kind": "delete", "id": "d", "of": "a"},
            ],
            "no memories",
        ),
        (
            [
                {"kind": "create", "id": "c", "text": "x"},
                {"kind": "augment", "id": "a", "each": "c", "template": "{item.text}"},
            ],
            "no memories",
        ),
    ],
)
def test_PIPE_1_what_is_no_pipeline_is_refused_and_told(
    steps: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_definition(document(*steps))
    assert said in f"{refused.value.message} {refused.value.details}"


def test_PIPE_1_parameters_are_bound_all_and_no_other() -> None:
    spec = read_definition(document(FIND, limit={"default": 3}))
    assert spec.bound({"case": "A-7"}) == {"case": "A-7", "limit": 3}
    with pytest.raises(InvalidInputError):
        spec.bound({})
    with pytest.raises(InvalidInputError):
        spec.bound({"case": "A-7", "other": 1})


def test_PIPE_1_templates_look_names_up_and_do_nothing_else() -> None:
    scope = {"a": {"b": "{c.d} {{", "n": 3, "no": None, "yes": True}}
    assert render("{a.b}|{{x}}|{a.n}|{a.no}|{a.yes}", scope) == "{c.d} {{|{x}|3||true"
    with pytest.raises(InvalidInputError):
        render("{a.other}", scope)
    with pytest.raises(PayloadTooLargeError):
        render("{a.b}{a.b}", {"a": {"b": "x" * 600_000}})


@given(st.text(max_size=40))
def test_PIPE_1_a_text_is_refused_or_renders_without_surprises(text: str) -> None:
    try:
        names = paths_in(text)
    except InvalidInputError:
        return
    values: dict[str, dict[str, object]] = {}
    for name in names:
        root, _, rest = name.partition(".")
        values.setdefault(root, {})[rest] = "§"
    made = render(text, values)
    assert made.count("§") >= len(names)
    assert render(text.replace("{", "{{").replace("}", "}}"), {}) == text


def test_PIPE_1_conditions_are_filters_over_the_context() -> None:
    scope = {"facts": {"count": 2, "text": "due in May"}, "params": {"kind": "civil", "big": True}}
    for condition, wanted in (
        ("facts.count > 1", True),
        ("facts.count > 1 and not params.kind: civil", False),
        ("params.kind in (criminal, civil)", True),
        ("params.big: true", True),
        ("has(other.count)", False),
        ("true", True),
    ):
        assert holds(condition, scope, NOW) is wanted, condition
    with pytest.raises(InvalidFilterError):
        holds("facts.count >", scope, NOW)


def test_PIPE_1_only_listed_places_may_be_published_to() -> None:
    places = ("https://hooks.example/team", "http://127.0.0.1:9000")
    for url, wanted in (
        ("https://hooks.example/team", True),
        ("https://hooks.example/team/a?x=1", True),
        ("https://hooks.example:443/team/a", True),
        ("http://127.0.0.1:9000/any", True),
        ("https://hooks.example/teammate", False),
        ("https://hooks.example/team/../admin", False),
        ("https://hooks.example/team/%2e%2e/admin", False),
        ("https://hooks.example/team/%252e%252e/admin", False),
        ("http://hooks.example/team", False),
        ("https://hooks.example.evil/team", False),
        ("https://hooks.example@evil/team", False),
        ("https://u:p@hooks.example/team", False),
        ("http://127.0.0.1:9001/any", False),
        ("https://hooks.example:99999/team", False),
        ("file:///etc/passwd", False),
    ):
        assert allowed(url, places) is wanted, url
    assert not allowed("https://hooks.example/team", ())
