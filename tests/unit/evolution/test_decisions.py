"""EVO-1 and CUBE-4: what use suggests, decided without a clock or a store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.metadata import Origin, SemanticType, Setting, Usage, Visibility
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.evolution import (
    PART_CHARS,
    EvolutionKind,
    Evolved,
    EvolvedState,
    Opinion,
    echoed,
    level,
    parts_of,
    repeats,
    split_of,
    summaries_of,
    summarised,
    undoing,
    worth_of,
    writes_of,
)
from memos_ray.core.evolution.worth import IMPLICIT_MOST, QUIET
from memos_ray.core.vault.operations import Archive, Create, Delete, Restore
from memos_ray.errors import StoreCorruptError
from memos_ray.testing.cubes import make_cube

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LONG = "\n".join(
    f"Paragraph {number} speaks of {topic} at length. " + f"{topic} is what it is about. " * 9
    for number, topic in enumerate(("gardens", "engines", "harbours", "violins", "glaciers"))
)


def cube(text: str, id: str = "m", **about: object) -> MemCube:
    """A memory; `about` sets fields of its description."""
    made = make_cube(id=id, payload=Plaintext(text))
    return replace(made, descriptive=replace(made.descriptive, **about))  # type: ignore[arg-type]


@given(st.floats(-1e6, 1e6))
def test_EVO_1_what_a_worth_does_is_bounded_and_grows(worth: float) -> None:
    assert -1 <= level(worth) <= 1
    if abs(worth) < QUIET:
        assert level(worth) == 0.0
    else:
        assert (level(worth) > 0) is (worth > 0)


def test_CUBE_4_implicit_signs_add_up_within_bounds() -> None:
    opinion = Opinion(0.0)
    for _ in range(100):
        opinion = opinion.heard(0.1, (0, 2))
    assert opinion.value == IMPLICIT_MOST and opinion.parts == {0: 100, 2: 100}
    assert worth_of([opinion, Opinion(-1.0)]) == IMPLICIT_MOST - 1


def test_CUBE_4_what_comes_back_in_an_answer_is_an_echo() -> None:
    text = "Ana moved to Lisbon because the harbour reminded her of Valparaiso."
    answer = "She went to Lisbon: its harbour reminded her of Valparaiso, so she moved."
    assert echoed(text, "Why did Ana move?", answer) == (0,)
    assert echoed(text, "Why did Ana move?", "I do not know that.") == ()
    # Words that the question has brought along say nothing.
    assert echoed(text, text, answer) == ()
    chinese = "安娜搬到了里斯本老城区因为她喜欢那里的港口。"
    assert echoed(chinese, "她为什么搬家", "因为她喜欢里斯本老城区那里的港口。") == (0,)


def test_CUBE_4_a_question_that_is_asked_again() -> None:
    question = "Where did Ana move last spring?"
    assert repeats([question, "Thanks a lot!", "where did Ana move last spring"])
    assert not repeats([question])
    assert not repeats([question, "What does she like about the harbour?"])


@given(st.text(max_size=4000))
def test_EVO_1_parts_hold_all_the_words(text: str) -> None:
    assert "".join("".join(parts_of(text)).split()) == "".join(text.split())
    assert all(part.strip() for part in parts_of(text))
    assert all(len(part) >= PART_CHARS // 2 for part in parts_of(text)[1:])


def test_EVO_1_a_memory_whose_parts_are_used_apart_is_split() -> None:
    memory = cube(LONG)
    pieces = parts_of(LONG)
    assert len(pieces) >= 4
    found = split_of(memory, {0: 4, 3: 3}, NOW)
    assert found is not None and found.kind is EvolutionKind.SPLIT
    assert found.sources == (("m", memory.version.number),)
    # Not when it is short, hardly used, used as a whole, in one part only, or not to be changed.
    assert split_of(cube("Short."), {0: 4, 3: 3}, NOW) is None
    assert split_of(memory, {0: 2, 3: 2}, NOW) is None
    assert split_of(memory, dict.fromkeys(range(len(pieces)), 3), NOW) is None
    assert split_of(memory, {0: 9}, NOW) is None
    assert split_of(replace(memory, frozen=True), {0: 4, 3: 3}, NOW) is None
    held = replace(memory, governance=replace(memory.governance, legal_hold=True))
    assert split_of(held, {0: 4, 3: 3}, NOW) is None


def test_EVO_1_a_split_keeps_everything_and_can_be_undone() -> None:
    memory = cube(LONG, tags=("diary",), origin=Origin.USER_INPUT)
    memory = replace(memory, governance=replace(memory.governance, watermark="press"))
    found = split_of(memory, {0: 4, 3: 3}, NOW)
    assert found is not None
    ids = [f"new-{number}" for number in range(9)]
    *creates, away = [write.operation for write in writes_of(found, [memory], ids)]
    assert away == Archive("m", expected=memory.version.number)
    assert [one.payload.text for one in creates] == parts_of(LONG)  # type: ignore[union-attr]
    for create in creates:
        assert isinstance(create, Create)
        assert [one.cube_id for one in create.sources] == ["m"]
        assert (create.visibility, create.tags) == (memory.governance.visibility, ("diary",))
        assert create.watermark == "press"
    done = replace(found, made=(("new-0", 1),), put_away=(7,))
    undone = [write.operation for write in undoing(done)]
    assert undone == [Delete("new-0", expected=1), Restore("m", expected=7)]


def episodes(count: int, **fields: object) -> list[MemCube]:
    at = NOW - timedelta(days=90)
    return [
        cube(
            f"On day {number} Ben walked to the lake. The lake was cold on day {number}.",
            f"e{number}",
            semantic_type=SemanticType.EPISODE,
            setting=Setting(conversation="walks", session="s1", position=number),
            event_time=at + timedelta(hours=number),
            **fields,
        )
        for number in range(count)
    ]


def test_EVO_1_old_seldom_read_episodes_of_one_session_are_summed_up() -> None:
    (found,) = summaries_of(episodes(6), NOW)
    assert found.kind is EvolutionKind.SUMMARY
    assert [id for id, _ in found.sources] == [f"e{number}" for number in range(6)]
    create, *away = [write.operation for write in writes_of(found, episodes(6), ["s"])]
    assert isinstance(create, Create) and create.semantic_type is SemanticType.EPISODE
    assert len(create.sources) == 6 and len(away) == 6
    sentences = {part for one in episodes(6) for part in one.text.split(". ")}
    for line in create.payload.text.splitlines():  # type: ignore[union-attr]
        assert any(part.rstrip(".") in line for part in sentences)


def test_EVO_1_what_is_read_young_or_otherwise_accessible_is_not_summed_up() -> None:
    assert summaries_of(episodes(4), NOW) == []
    assert summaries_of(episodes(6), NOW - timedelta(days=80)) == []
    hot = [replace(one, usage=Usage(9, NOW, 9.0)) for one in episodes(6)]
    assert summaries_of(hot, NOW) == []
    some = episodes(8)
    mixed = [
        replace(one, governance=replace(one.governance, visibility=Visibility.SHARED))
        if number % 2
        else replace(one, governance=replace(one.governance, visibility=Visibility.PRIVATE))
        for number, one in enumerate(some)
    ]
    assert summaries_of(mixed, NOW) == []
    gone = [replace(one, state=State.ARCHIVED) for one in episodes(6)]
    assert summaries_of(gone, NOW) == []


@given(st.lists(st.text(max_size=300), max_size=12))
def test_EVO_1_a_summary_invents_nothing(texts: list[str]) -> None:
    said = summarised(texts)
    assert len(said) <= 2000
    whole = "\n".join("".join(text.split()) for text in texts)
    for line in said.splitlines():
        assert "".join(line.split()) in whole


def test_EVO_1_a_proposal_survives_its_row() -> None:
    (found,) = summaries_of(episodes(6), NOW)
    done = replace(found, state=EvolvedState.ACCEPTED, made=(("x", 1),), put_away=(2,) * 6)
    assert Evolved.from_bytes(done.id, done.tenant, done.namespace, done.to_bytes()) == done
    with pytest.raises(StoreCorruptError):
        Evolved.from_bytes("x", "t", "n", b"{}")
