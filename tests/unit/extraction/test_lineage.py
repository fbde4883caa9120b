"""READ-3, CONV-6, GOV-9: what is stored of an answer, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.metadata import (
    Arrangement,
    Decay,
    ExpiresAt,
    Forever,
    Governance,
    Lifespan,
    SemanticType,
    Visibility,
)
from memos_ray.core.cube.payload import ParameterRef
from memos_ray.core.extraction import (
    Sources,
    away_again,
    check,
    closing,
    due,
    ids_of,
    turns_of,
    write_of,
)
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.vault.changes import create
from memos_ray.core.vault.operations import Age, Create, Share, Update, UpdateMode, Write
from memos_ray.testing.cubes import START, next_version
from memos_ray.testing.reading import memory
from tests.unit.extraction.test_checking import cube, said

LATER = datetime(2033, 1, 1, tzinfo=UTC)


def source(id: str = "c1", text: str = "I moved to Lisbon.", **rules: Any) -> MemCube:
    plain = cube(text, id)
    return replace(plain, governance=replace(plain.governance, **rules))


def written(*sources: MemCube, **item: Any) -> Write:
    turns = turns_of([], sources)
    names = [turn.name for turn in turns]
    found = check(said(memory("Ana moved to Lisbon.", *names, **item)), turns)
    assert found is not None and found.taken
    return write_of(found.taken[0], 3, "user:ana", "reader", "k")


def operation(*sources: MemCube, **item: Any) -> Create:
    made = written(*sources, **item).operation
    assert isinstance(made, Create)
    return made


def made(*sources: MemCube) -> MemCube:
    cube, _ = create(
        operation(*sources),
        tenant="acme",
        namespace="user:ana",
        author="user:ana",
        now=START,
        default_visibility=Visibility.SHARED,
        reason=None,
    )
    return cube


def test_READ_3_the_same_item_of_the_same_sources_has_one_id() -> None:
    one = operation(source())
    assert one.id == operation(source()).id and str(one.id).endswith("0003")
    assert one.id != operation(next_version(source())).id
    assert one.id != operation(source(), kind="preference").id
    assert one.id != operation(source(), source("c2")).id


def test_CONV_6_LIFE_1_only_what_was_put_away_is_put_away_again() -> None:
    one = made(source())
    away, gone = (replace(one, state=state) for state in (State.ARCHIVED, State.DELETED))
    label = Update(one.id, UpdateMode.MERGE, sensitivity=("health",))
    back, delete = (Age(one.id, move, Cause.LINEAGE, 1) for move in (Move.RESTORE, Move.DELETE))
    again = Age(one.id, Move.ARCHIVE, Cause.LINEAGE, one.version.number + 1)
    assert away_again(away, label, None) == again
    assert away_again(one, label, away) is None
    assert away_again(gone, back, away) == again
    assert away_again(gone, back, one) is None
    assert away_again(away, delete, away) is None


def test_READ_3_kinds_become_types() -> None:
    assert operation(source()).semantic_type is SemanticType.FACT
    assert operation(source(), kind="episode").semantic_type is SemanticType.EPISODE
    entity = operation(source(), kind="entity", subject="Lisbon", predicate="is", object="Lisbon")
    assert entity.arrangement is Arrangement.GRAPH_NODE


_RULES = st.builds(
    Governance,
    owner=st.just("user:ana"),
    visibility=st.sampled_from(Visibility),
    readers=st.lists(st.sampled_from(["user:a", "user:b", "role:c"]), unique=True).map(tuple),
    writers=st.lists(st.sampled_from(["user:a"]), unique=True).map(tuple),
    sharers=st.lists(st.sampled_from(["user:b"]), unique=True).map(tuple),
    lifespan=st.sampled_from([Forever(), ExpiresAt(LATER), Decay(60.0), Decay(5.0)]),
    priority=st.integers(-5, 5),
    sensitivity=st.lists(st.sampled_from(["health", "money"]), unique=True).map(tuple),
    compliance=st.lists(st.sampled_from(["gdpr"]), unique=True).map(tuple),
)
_OPEN = {Visibility.PRIVATE: 0, Visibility.READ_ONLY: 1, Visibility.SHARED: 2}


def _ends(one: Lifespan) -> float:
    match one:
        case ExpiresAt():
            return 0
        case Decay(half):
            return 1 + half
        case Forever():
            return float("inf")


@given(st.lists(_RULES, min_size=1, max_size=4))
def test_READ_3_CONV_6_never_wider_than_the_least_of_its_sources(rules: list[Governance]) -> None:
    sources = [replace(source(f"c{n}"), governance=one) for n, one in enumerate(rules)]
    found = operation(*sources)
    assert found.visibility is not None
    for one in rules:
        assert _OPEN[found.visibility] <= _OPEN[one.visibility]
        assert set(found.readers) <= set(one.readers)
        assert found.writers == found.sharers == ()
        assert set(one.sensitivity) <= set(found.sensitivity)
        assert set(one.compliance) <= set(found.compliance)
        assert found.priority <= one.priority
        assert _ends(found.lifespan) <= _ends(one.lifespan)
    # Made like that, nothing is to be done about it.
    derived = made(*sources)
    now = {one.id: one for one in sources}
    assert due(derived, Sources(now, {})) is None


def follows(derived: MemCube, *now: MemCube, then: MemCube | None = None) -> Any:
    before = {then.id: then} if then else {}
    there = {one.id: one for one in now}
    return due(derived, Sources(there, before, erased=not set(ids_of(derived)) <= set(there)))


def aged(found: Any) -> Move:
    assert isinstance(found, Age) and found.cause is Cause.LINEAGE
    return found.move


@pytest.mark.parametrize("state", list(State))
def test_READ_3_GOV_9_an_erased_source_takes_all_with_it(state: State) -> None:
    one, other = source("c1"), source("c2")
    derived = replace(made(one, other), state=state)
    assert aged(follows(derived, other)) is Move.ERASE
    assert aged(follows(derived)) is Move.ERASE


@pytest.mark.parametrize("state", [State.DELETED, State.EXPIRED])
def test_READ_3_CONV_6_deleted_and_restored_with_a_source(state: State) -> None:
    one, other = source("c1"), source("c2")
    derived = made(one, other)
    gone = replace(one, state=state)
    assert aged(follows(derived, gone, other)) is Move.DELETE
    by_owner = next_version(derived, change=Change.DELETE, state=State.DELETED)
    why = replace(by_owner.version, reason=Cause.LINEAGE.value)
    after = replace(by_owner, version=why)
    assert follows(after, gone, other) is None
    assert aged(follows(after, one, other)) is Move.RESTORE
    assert follows(by_owner, one, other) is None


def test_READ_3_CONV_6_stale_while_a_source_says_something_else() -> None:
    then = source()
    changed = next_version(source(text="I moved to Porto."))
    derived = made(then)
    assert follows(derived, next_version(then), then=then) is None
    marking = follows(derived, changed, then=then)
    assert isinstance(marking, Update) and marking.attributes == {"stale": True}
    about = replace(
        derived.descriptive, attributes={**derived.descriptive.attributes, "stale": True}
    )
    stale = replace(derived, descriptive=about)
    assert follows(stale, changed, then=then) is None
    fresh = follows(stale, next_version(then), then=then)
    assert isinstance(fresh, Update) and fresh.attributes == {"stale": False}


def test_CUBE_3_CONV_6_labelled_with_a_source() -> None:
    one, other = source("c1"), source("c2")
    derived = made(one, other)
    rules = replace(one.governance, sensitivity=("health",), compliance=("gdpr",))
    labelled = replace(one, governance=rules)
    found = follows(derived, labelled, other)
    assert isinstance(found, Update) and found.attributes is None
    assert (found.sensitivity, found.compliance) == (("health",), ("gdpr",))
    theirs = replace(derived.governance, sensitivity=("health",), compliance=("gdpr",))
    assert follows(replace(derived, governance=theirs), labelled, other) is None
    # Labels that it has of its own, or had from before, stay.
    assert follows(replace(derived, governance=theirs), one, other) is None


def test_READ_3_CONV_6_narrowed_with_a_source() -> None:
    wide = source(visibility=Visibility.SHARED, readers=("user:a",))
    derived = made(wide)
    assert follows(derived, wide) is None
    closed = source(visibility=Visibility.PRIVATE)
    narrowing = follows(derived, closed)
    assert isinstance(narrowing, Share)
    assert (narrowing.visibility, narrowing.remove) == (Visibility.PRIVATE, ("user:a",))
    alone = closing(derived, narrowing)
    assert aged(alone) is Move.CLOSE
    assert alone is not None and alone.rules == replace(
        derived.governance, visibility=Visibility.PRIVATE, readers=()
    )
    assert (
        closing(derived, Update(derived.id, UpdateMode.MERGE, attributes={"stale": True})) is None
    )


def test_CONV_6_CUBE_3_what_has_learnt_its_sources_only_gets_their_labels() -> None:
    one, other = source("c1"), source("c2")
    adapter = replace(made(one, other), payload=ParameterRef("d" * 64, "base", 8, 100))
    rules = replace(one.governance, sensitivity=("health",), visibility=Visibility.PRIVATE)
    labelled = replace(one, governance=rules)
    found = follows(adapter, labelled, replace(other, state=State.DELETED))
    assert isinstance(found, Update)
    assert (found.sensitivity, found.attributes) == (("health",), None)
    assert due(adapter, Sources({}, {}, erased=True)) is None
    gone = follows(replace(adapter, state=State.DELETED), labelled, other)
    assert isinstance(gone, Age) and gone.move is Move.CLOSE
    assert gone.rules == replace(adapter.governance, sensitivity=("health",))
    # A younger one has the id of what was learnt.
    younger = replace(labelled.descriptive, created_at=LATER)
    assert follows(adapter, replace(labelled, descriptive=younger), other) is None
