"""READ-3: marks of what is to be read, and writes that rest on other memories."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.vault.changes import revise
from memos_ray.core.vault.entries import DERIVE, LEARN, extraction_wanted, verb_of
from memos_ray.core.vault.log import ERASE, CubeKey
from memos_ray.core.vault.needing import needs
from memos_ray.core.vault.operations import Age, Create, Learnt, Update, UpdateMode, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import VersionConflictError
from memos_ray.testing.cubes import START, make_cube, next_version
from tests.unit.vault.test_planning import ANN, planner

SOURCE = make_cube(id="c-1")


def derived(*of: tuple[str, int], context: CallContext = ANN) -> Submission:
    create = Create(Plaintext("x"), id="d-1")
    return Submission(context, Write("notes", create, derived_from=of))


def test_READ_3_the_log_tells_who_may_have_a_new_memory_read() -> None:
    principal = Principal("acme", "user:ann", ("clerk", "boss"), "key:k-1", (Action.READ,))
    context = replace(ANN, principal=principal)
    plan = planner()
    write = Write("notes", Create(Plaintext("x"), id="c-9"), extract=True)
    assert isinstance(plan.add(Submission(context, write)), Written)
    (event,) = plan.commit().events
    wanted = extraction_wanted(event)
    assert wanted is not None and wanted == replace(context, policy=0, hops=0)


def test_READ_3_what_was_stored_before_is_marked_once_for_each_version() -> None:
    stored = Write("notes", Create(Plaintext("x"), id="c-9"), "key")
    again = replace(stored, extract=True)
    plan = planner()
    outcomes = [plan.add(Submission(ANN, one)) for one in (stored, again, again)]
    assert [(one.lsn, one.replayed) for one in outcomes if isinstance(one, Written)] == [
        *((11, False), (11, True), (11, True)),
    ]
    commit = plan.commit()
    told = [(event.operation, event.cube_id, event.version) for event in commit.events]
    assert told == [("create", "c-9", 1), ("extract", "c-9", 1)]
    assert [extraction_wanted(event) is None for event in commit.events] == [True, False]
    # A changed memory is marked again, by whoever plans from what is held.
    head = next_version(commit.cubes[0], change=Change.MERGE)
    later = planner([head], replies=commit.replies, last_lsn=12)
    assert isinstance(later.add(Submission(ANN, again)), Written)
    assert [event.version for event in later.commit().events] == [2]


def test_READ_3_what_was_marked_when_it_was_made_is_not_marked_again() -> None:
    plan = planner()
    write = Write("notes", Create(Plaintext("x"), id="c-9"), "key", extract=True)
    for _ in range(2):
        assert isinstance(plan.add(Submission(ANN, write)), Written)
    assert [event.operation for event in plan.commit().events] == ["create"]


def test_READ_3_nobody_has_read_what_they_may_not_read_any_more() -> None:
    stored = Write("notes", Create(Plaintext("x"), id="c-9"), "key")
    first = planner()
    first.add(Submission(ANN, stored))
    commit = first.commit()
    (held,) = commit.cubes
    taken = replace(held, governance=replace(held.governance, owner="user:bob"))
    plan = planner([taken], replies=commit.replies)
    outcome = plan.add(Submission(ANN, replace(stored, extract=True)))
    assert isinstance(outcome, Written) and outcome.replayed
    assert plan.commit().events == ()


def test_READ_3_what_is_not_marked_is_not_read() -> None:
    plan = planner()
    plan.add(Submission(ANN, Write("notes", Create(Plaintext("x"), id="c-9"))))
    (event,) = plan.commit().events
    assert extraction_wanted(event) is None


def test_READ_3_a_derived_memory_is_told_of_in_the_log_of_its_sources() -> None:
    other = make_cube(id="c-2")
    submission = derived(("c-1", 1), ("c-2", 1))
    assert needs([submission]).heads >= {CubeKey("acme", "c-1"), CubeKey("acme", "c-2")}
    plan = planner([SOURCE, other])
    assert isinstance(plan.add(submission), Written)
    commit = plan.commit()
    assert [cube.id for cube in commit.cubes] == ["d-1"]
    told = [(event.lsn, event.operation, event.cube_id) for event in commit.events]
    assert told == [(11, "create", "d-1"), (12, DERIVE, "c-1"), (13, DERIVE, "c-2")]
    assert commit.cubes[0].version.lsn == 11
    assert commit.events[1].detail == {"memory": "d-1", "of": 1}


@pytest.mark.parametrize("heads", [[], [next_version(SOURCE)]])
def test_READ_3_nothing_is_made_of_a_source_that_has_moved_on(heads: list[object]) -> None:
    plan = planner(heads)  # type: ignore[arg-type]
    assert isinstance(plan.add(derived(("c-1", 1))), VersionConflictError)
    assert plan.commit().events == ()


def said(id: str, *learnt: str) -> Submission:
    """What an adapter was asked about `c-1`, which has learnt more."""
    of = (("c-1", 1), ("p-1", 1))
    write = Write("notes", Create(Plaintext("x"), id=id), derived_from=of)
    return Submission(ANN, replace(write, learnt=Learnt("p-1", learnt)))


def test_GOV_9_the_log_tells_what_an_adapter_had_learnt_once() -> None:
    heads = [SOURCE, make_cube(id="c-2"), make_cube(id="p-1")]
    submissions = [said("d-1", "c-1", "c-2"), said("d-2", "c-1", "c-2")]
    assert needs(submissions).heads >= {CubeKey("acme", id) for id in ("c-1", "c-2", "p-1")}
    plan = planner(heads)
    assert all(isinstance(plan.add(one), Written) for one in submissions)
    events = plan.commit().events
    assert [event.lsn for event in events] == list(range(11, 11 + len(events)))
    told = [(one.operation, one.cube_id, one.detail.get("memory")) for one in events]
    assert [one for one in told if one[0] == LEARN] == [
        (LEARN, "c-1", "p-1"),
        (LEARN, "c-2", "p-1"),
    ]
    assert {one[1:] for one in told if one[0] == DERIVE} == {
        (source, made) for source in ("c-1", "p-1") for made in ("d-1", "d-2")
    }
    assert all(one.detail["through"] == "p-1" for one in events if one.operation == DERIVE)


def test_CONV_6_CUBE_3_what_an_adapter_says_has_the_labels_of_all_it_had_learnt() -> None:
    other = make_cube(id="c-2")
    rules = replace(other.governance, sensitivity=("health",), compliance=("gdpr",))
    # As these are when it is made, whatever they were when they were read.
    heads = [SOURCE, replace(other, governance=rules), make_cube(id="p-1")]
    plan = planner(heads)
    submission = said("d-1", "c-1", "c-2")
    made = Create(Plaintext("x"), id="d-1", sensitivity=("home",))
    submission = replace(submission, write=replace(submission.write, operation=made))
    assert isinstance(plan.add(submission), Written)
    (cube,) = plan.commit().cubes
    assert (cube.governance.sensitivity, cube.governance.compliance) == (
        ("health", "home"),
        ("gdpr",),
    )


@pytest.mark.parametrize(("labels", "told"), [((), {}), (("health",), {"labelled": True})])
def test_CUBE_3_the_log_tells_that_a_memory_has_got_labels(
    labels: tuple[str, ...], told: dict[str, bool]
) -> None:
    plan = planner([SOURCE])
    change = Update("c-1", UpdateMode.MERGE, text="y", sensitivity=labels)
    assert isinstance(plan.add(Submission(ANN, Write("notes", change))), Written)
    (event,) = plan.commit().events
    assert event.detail == told


@pytest.mark.parametrize("gone", [None, replace(make_cube(id="c-2"), state=State.DELETED)])
def test_GOV_9_nothing_is_made_of_an_adapter_that_has_learnt_what_is_gone(
    gone: MemCube | None,
) -> None:
    heads = [SOURCE, make_cube(id="p-1"), *([gone] if gone else [])]
    plan = planner(heads)
    assert isinstance(plan.add(said("d-1", "c-1", "c-2")), VersionConflictError)
    assert plan.commit().events == ()


@pytest.mark.parametrize(
    ("move", "verb", "state"),
    [
        (Move.DELETE, Change.DELETE.value, State.DELETED),
        (Move.RESTORE, Change.RESTORE.value, State.ACTIVATED),
        (Move.ERASE, ERASE, None),
    ],
)
def test_READ_3_what_was_extracted_moves_with_its_source(
    move: Move, verb: str, state: State | None
) -> None:
    head = SOURCE if move is not Move.RESTORE else replace(SOURCE, state=State.DELETED)
    operation = Age("c-1", move, Cause.LINEAGE, 1)
    assert verb_of(operation) == verb
    found = revise(operation, head, author="service:extraction", now=START, reason=None)
    assert (found.state if found else None) is state
