"""READ-3: what is taken of a model's answer, and what never is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.metadata import Setting, Visibility
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.extraction import Checked, Kind, Objection, SourceTurn, check, turns_of
from memos_ray.core.vault.changes import create
from memos_ray.core.vault.operations import Create
from memos_ray.testing.reading import memory

MAY = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


def cube(text: str, id: str = "c1", speaker: str | None = "Ana", at: datetime = MAY) -> MemCube:
    operation = Create(
        Plaintext(text), id, setting=Setting("chat", "s1", 0, speaker, "user"), event_time=at
    )
    made, _ = create(
        operation,
        tenant="acme",
        namespace="user:ana",
        author="user:ana",
        now=at,
        default_visibility=Visibility.PRIVATE,
        reason=None,
    )
    return made


def turns(*texts: str, before: Sequence[str] = ()) -> tuple[SourceTurn, ...]:
    """Turns t1, t2, …; those of `before` come first."""
    cubes = [cube(text, f"c{place}") for place, text in enumerate((*before, *texts))]
    return turns_of(cubes[: len(before)], cubes[len(before) :])


def said(*memories: Any) -> str:
    return json.dumps({"memories": list(memories)}, ensure_ascii=False)


def checked(of: Sequence[SourceTurn], *memories: Any) -> Checked:
    found = check(said(*memories), of)
    assert found is not None
    return found


def objection(of: Sequence[SourceTurn], item: Any) -> Objection | None:
    found = checked(of, item)
    if found.taken:
        assert not found.objections
        return None
    (why,) = found.objections
    return why


LISBON = turns("I moved to Lisbon last month, to work for Acme.")


@pytest.mark.parametrize(
    "text",
    [
        "Ana moved to Lisbon.",
        "Ana lives in Lisbon.",
        "Ana's job is at Acme in Lisbon.",
        "Ana works for Acme.",
    ],
)
def test_READ_3_what_the_turns_say_is_taken(text: str) -> None:
    found = checked(LISBON, memory(text, "t1"))
    (taken,) = found.taken
    assert (taken.item.text, taken.item.kind) == (text, Kind.FACT)
    assert [turn.key for turn in taken.turns] == [("c0", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "Ana moved to Porto.",
        "Bob moved to Lisbon.",
        "Zoe lives in Lisbon.",
        "Ana moved to Lisbon with 3 dogs.",
        "Ana did not move to Lisbon.",
        "The password of the safe is swordfish.",
        "Ana owns a garden, two boats and a house near Lisbon harbour.",
    ],
)
def test_READ_3_what_they_do_not_say_is_refused(text: str) -> None:
    assert objection(LISBON, memory(text, "t1")) is Objection.SUPPORT


@pytest.mark.parametrize("part", ["subject", "object", "predicate"])
def test_READ_3_parts_of_a_relation_are_checked_too(part: str) -> None:
    parts = {"subject": "Ana", "predicate": "works for", "object": "Acme"}
    good = memory("Ana works for Acme.", "t1", kind="relation", **parts)
    assert objection(LISBON, good) is None
    wrong = memory("Ana works for Acme.", "t1", kind="relation", **{**parts, part: "Evil Corp"})
    assert objection(LISBON, wrong) is Objection.SUPPORT
    lacking = memory("Ana works for Acme.", "t1", kind="relation", **{**parts, part: None})
    assert objection(LISBON, lacking) is Objection.FORM


def test_READ_3_an_entity_says_what_a_name_stands_for() -> None:
    entity = memory(
        "Lisbon is where Ana works.", "t1", kind="entity", subject="Lisbon", object="Lisbon"
    )
    assert objection(LISBON, {**entity, "predicate": "is a"}) is None
    assert objection(LISBON, entity) is Objection.FORM


def test_READ_3_chinese_turns() -> None:
    of = turns("我上个月搬到了里斯本,在那里当老师。")
    assert objection(of, memory("Ana搬到了里斯本。", "t1")) is None
    assert objection(of, memory("她在里斯本当老师。", "t1")) is None
    assert objection(of, memory("她在东京买了一艘船。", "t1")) is Objection.SUPPORT
    assert objection(of, memory("她没有搬到里斯本。", "t1")) is Objection.SUPPORT


def test_READ_3_sources_are_turns_that_were_to_be_read() -> None:
    of = turns("He likes jazz.", before=["Bob came by."])
    jazz = "Bob likes jazz."
    assert objection(of, memory(jazz, "t1", "t2")) is None
    assert objection(of, memory("Bob came by.", "t1")) is Objection.SOURCE
    assert objection(of, memory(jazz, "t2")) is Objection.SUPPORT
    assert objection(of, memory(jazz, "t9")) is Objection.SOURCE
    assert objection(of, memory(jazz, "t2", "c0")) is Objection.SOURCE
    assert objection(of, memory(jazz)) is Objection.FORM


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        ("2023-04-01", "2023-05-01", None),
        ("2023-04-10", None, None),
        ("2023-05-08", None, None),
        ("2023-04-01T00:00:00+02:00", "2023-05-01", None),
        ("2022-04-01", "2022-05-01", Objection.TIME),
        ("2023-04-01", "2024-05-01", Objection.TIME),
        ("2023-05-01", "2023-04-01", Objection.TIME),
        ("0001-01-01", None, Objection.TIME),
        ("9999-12-31", None, Objection.TIME),
        ("last month", None, Objection.FORM),
        ("2023-13-01", None, Objection.FORM),
        (20230401, None, Objection.FORM),
    ],
)
def test_READ_3_times_are_those_of_the_turns(
    start: Any, end: str | None, why: Objection | None
) -> None:
    item = memory("Ana moved to Lisbon.", "t1", time={"start": start, "end": end})
    assert objection(LISBON, item) is why


def test_READ_3_a_date_may_stand_where_the_turn_said_last_month() -> None:
    time = {"start": "2023-04-01", "end": "2023-05-01"}
    assert objection(LISBON, memory("Ana moved to Lisbon in April 2023.", "t1", time=time)) is None
    untimed = memory("Ana moved to Lisbon in April 2023.", "t1")
    assert objection(LISBON, untimed) is Objection.SUPPORT
    other = memory("Ana moved to Lisbon in June 2023.", "t1", time=time)
    assert objection(LISBON, other) is Objection.SUPPORT


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "user:bob"},
        {"visibility": "shared"},
        {"kind": "password"},
        {"text": ""},
        {"text": "x" * 1001},
        {"text": 7},
        {"text": "Ana moved\x00 to Lisbon."},
        {"confidence": 2},
        {"confidence": None},
        {"sources": "t1"},
        {"sources": ["t1"] * 40},
        {"time": "2023-04-01"},
        {"subject": ["Ana"]},
    ],
)
def test_READ_3_an_item_of_another_form_is_refused_alone(change: dict[str, Any]) -> None:
    good = memory("Ana moved to Lisbon.", "t1")
    text = json.dumps({"memories": [{**good, **change}, good]})
    found = check(text, LISBON)
    assert found is not None
    assert [one.item.text for one in found.taken] == ["Ana moved to Lisbon."]
    assert found.objections == Counter({Objection.FORM: 1})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! Here you are.",
        "[]",
        "{}",
        '{"memories": {}}',
        '{"memories": [',
        "null",
        "[" * 9999,
        '{"memories": [], "delete": ["t1"]}',
        '{"memories": [NaN]}',
        '{"memories": ["\\ud800"]}',
    ],
)
def test_READ_3_an_answer_of_another_form_is_refused_whole(text: str) -> None:
    assert check(text, LISBON) is None


def test_READ_3_a_fence_around_an_answer_does_no_harm() -> None:
    fenced = f"```json\n{said(memory('Ana moved to Lisbon.', 't1'))}\n```"
    found = check(fenced, LISBON)
    assert found is not None and len(found.taken) == 1


def test_READ_3_the_same_is_taken_once_and_not_without_end() -> None:
    good = memory("Ana moved to Lisbon.", "t1")
    found = checked(LISBON, good, good, {**good, "text": "ANA moved to Lisbon."})
    assert (len(found.taken), found.objections[Objection.REPEATED]) == (1, 2)
    many = [memory(text, "t1") for text in ("Ana moved.", "Ana works.", "Lisbon. Ana.", "Acme.")]
    found = check(said(*many), LISBON, 2) or checked(LISBON)
    assert (len(found.taken), found.objections[Objection.TOO_MANY]) == (2, 2)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
_WORDS = st.sampled_from(
    ["Ana", "moved", "to", "Lisbon", "Acme", "Bob", "not", "work", "2023", "secret", "里斯本", "."]
)
_ITEMS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([kind.value for kind in Kind]) | _JSON,
        "text": st.lists(_WORDS, max_size=8).map(" ".join) | _JSON,
        "subject": st.none() | _WORDS | _JSON,
        "predicate": st.none() | _WORDS | _JSON,
        "object": st.none() | _WORDS | _JSON,
        "time": st.none()
        | st.fixed_dictionaries({"start": st.dates().map(str), "end": st.none()})
        | _JSON,
        "confidence": st.floats(0, 1) | _JSON,
        "sources": st.lists(st.sampled_from(["t1", "t2", "t3"]), max_size=3) | _JSON,
    }
)


@settings(max_examples=150, deadline=None)
@given(memories=st.lists(_ITEMS | _JSON, max_size=5))
def test_READ_3_whatever_is_answered_rests_on_the_turns(memories: list[Any]) -> None:
    of = turns("I moved to Lisbon.", "I work for Acme.")
    found = check(json.dumps({"memories": memories}), of)
    if found is None:
        # Such as numbers that JSON has not.
        return
    assert len(found.taken) + found.objections.total() == len(memories)
    for taken in found.taken:
        names = {turn.name for turn in taken.turns}
        assert names and names <= {"t1", "t2"}
        evidence = " ".join(turn.cube.text for turn in taken.turns) + " Ana user"
        for word in taken.item.text.split():
            if word in ("Bob", "2023"):
                assert word in evidence or taken.item.time is not None
        assert 0 <= taken.item.confidence <= 1


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_READ_3_noise_is_no_answer(text: str) -> None:
    found = check(text, LISBON)
    assert found is None or not found.taken
