"""LIFE-1: moves that are planned together are what they would be one by one, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.adapters.sql import rows
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.names import base_of
from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.cube.facets import FIELDS, facets_of
from memos_ray.core.cube.payload import ArchivedRef, Form, ParameterRef, Plaintext
from memos_ray.core.lifecycle.archive import StoredVersion
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.core.vault.moving import MovePlanner, moves
from memos_ray.core.vault.operations import (
    Age,
    Archive,
    Create,
    Delete,
    Freeze,
    Operation,
    Restore,
    Write,
    Written,
)
from memos_ray.core.vault.planning import Planner, Submission
from memos_ray.core.vault.quotas import Quotas
from memos_ray.core.vault.resting import RestingFacets, read
from memos_ray.errors import MemosError, StoreCorruptError
from memos_ray.testing.cubes import at_rest, key_of, make_cube, stubbed
from memos_ray.testing.cubes import resting as resting_of
from memos_ray.testing.guards import OwnerGuard
from memos_ray.testing.strategies import cubes, instants

PARTITION, EPOCH, LAST = 3, 2, 40
TENANT, OWNER, BOB = "acme", "user:ann", "user:bob"

texts = cubes().filter(lambda cube: isinstance(cube.payload, Plaintext))
payloads = st.one_of(st.none(), st.just(ArchivedRef("ab" * 32, 7, Form.PLAINTEXT)))


@st.composite
def heads(draw: st.DrawFn, number: int) -> MemCube:
    """Draws a head that the caller may own, frozen less often than not."""
    cube = draw(texts)
    away = draw(payloads)
    rules = replace(cube.governance, owner=draw(st.sampled_from((OWNER, OWNER, "user:eve"))))
    return replace(
        cube,
        id=f"{cube.id[:16]}{number}",
        tenant=TENANT,
        governance=rules,
        payload=away or cube.payload,
        frozen=draw(st.sampled_from((False, False, True))),
    )


def operations(cube: MemCube) -> st.SearchStrategy[Operation]:
    newest = cube.version.number
    expected = st.sampled_from((None, newest, newest + 1))
    return st.one_of(
        st.builds(Archive, st.just(cube.id), expected),
        st.builds(Restore, st.just(cube.id), expected),
        st.builds(Delete, st.just(cube.id), st.booleans(), expected),
        st.builds(
            Age,
            st.just(cube.id),
            st.sampled_from(
                (Move.ARCHIVE, Move.EXPIRE, Move.COLLECT, Move.DELETE, Move.RESTORE, Move.ERASE)
            ),
            st.sampled_from(Cause),
            st.sampled_from((newest, newest, newest + 1)),
        ),
    )


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[MemCube], list[Submission], datetime, int | None]:
    held = [draw(heads(number)) for number in range(draw(st.integers(1, 4)))]
    submissions = []
    for cube in [*held, make_cube(id="nobody", tenant=TENANT)]:
        who = Principal(TENANT, draw(st.sampled_from((OWNER, OWNER, BOB))))
        context = CallContext(who, purpose=draw(st.none() | st.just("spring")))
        space = draw(st.sampled_from(("", "", cube.namespace, "elsewhere")))
        reason = draw(st.sampled_from((None, "tidy", "a\0b")))
        submissions.append(Submission(context, Write(space, draw(operations(cube)), reason=reason)))
    return held, submissions, draw(instants), draw(st.none() | st.integers(0, 30))


def weighing(guard: OwnerGuard) -> Quotas:
    return Quotas(guard, lambda tenant, namespace: 5)


def told(outcome: Written | MemosError) -> object:
    if isinstance(outcome, Written):
        return outcome
    return type(outcome), outcome.message, outcome.details


def labels(cube: MemCube) -> list[rows.Values]:
    """All but those of what a merge united, which stay with the memory in any state."""
    found = rows.label_rows(PARTITION, cube, facets_of(cube))
    return [row for row in found if row["name"] != rows.SOURCE]


@settings(max_examples=60)
@given(batches())
def test_LIFE_1_moves_together_are_what_they_are_one_by_one(
    drawn: tuple[list[MemCube], list[Submission], datetime, int | None],
) -> None:
    held, submissions, now, quota = drawn
    guard = OwnerGuard({base_of(cube.namespace): quota for cube in held if quota is not None})
    by_key = {key_of(cube): cube for cube in held}
    one_by_one = Planner(PARTITION, EPOCH, LAST, now, guard, by_key, {}, {}, weighing(guard))
    assert moves(submissions) is not None
    resting = [at_rest(c) for c in held]
    together = MovePlanner(PARTITION, EPOCH, LAST, now, guard, read(resting) or {}, weighing(guard))
    expected = [told(one_by_one.add(one)) for one in submissions]
    assert [told(together.add(one)) for one in submissions] == expected
    single, whole = one_by_one.commit(), together.commit()
    assert whole.events == single.events
    assert whole.erased == single.erased
    assert together.denials() == one_by_one.denials()
    assert [one.cube() for one in whole.moved] == list(single.cubes)
    for one, cube, facets in zip(whole.moved, single.cubes, single.facets, strict=True):
        stored = rows.version_row(PARTITION, cube, cube.version.lsn)
        assert rows.moved_version_row(PARTITION, one) == stored
        head = rows.cube_row(PARTITION, cube, facets)
        changed = dict(zip(rows.MOVED, rows.moved_values(PARTITION, one), strict=True))
        names = {"p": "partition", "t": "tenant", "n": "number", "s": "state"}
        names |= {"at": "updated_at", "until": "expires_at"}
        assert {names[name]: value for name, value in changed.items()} == {
            name: head[name] for name in names.values()
        }
        assert head["made_at"] == head["updated_at"]
        # What is left as it is, would have been written as it was.
        (before,) = (c for c in held if c.id == one.key.id)
        kept = rows.cube_row(PARTITION, before, facets_of(before))
        same = set(head) - {*names.values(), *rows.USAGE_COLUMNS, "made_at"}
        assert {name: head[name] for name in same} == {name: kept[name] for name in same}
        assert labels(cube) == labels(before)


@settings(max_examples=40)
@given(texts, instants, st.sampled_from(("", "00")))
def test_VAULT_4_a_move_refers_to_the_file_that_has_its_text(
    drawn: MemCube, now: datetime, other: str
) -> None:
    cube = replace(drawn, tenant=TENANT, state=State.ACTIVATED, frozen=False)
    version = resting_of(cube)
    stub = stubbed(version, "ab" * 32, 3)._replace(digest=other or version.digest)

    def planned(stub: StoredVersion | None) -> Commit:
        guard = OwnerGuard()
        held = read([at_rest(cube)]) or {}
        planner = MovePlanner(PARTITION, EPOCH, LAST, now, guard, held, weighing(guard))
        age = Age(cube.id, Move.ARCHIVE, Cause.UNUSED, cube.version.number, stub)
        context = CallContext(Principal(TENANT, OWNER))
        planner.add(Submission(context, Write(cube.namespace, age)))
        return planner.commit()

    whole, short = planned(None), planned(stub)
    if other or not whole.moved:
        # It is not what the file holds; or its time is over, and it is not archived.
        assert short == whole
        return
    ((one,), (moved,)) = whole.moved, short.moved
    assert short == replace(whole, moved=(moved,), stowed=(stub,))
    assert moved.cube() == one.cube()
    expected = replace(one.cube(), payload=ArchivedRef("ab" * 32, 3, Form.PLAINTEXT))
    assert moved.body == wire.to_json(expected)
    held = StoredVersion(*version[:3], moved.number, moved.digest, moved.body)
    assert held.filled(version.body).body == one.body


@settings(max_examples=30)
@given(heads(0))
def test_LIFE_1_policies_see_what_rests_as_what_is_decoded(cube: MemCube) -> None:
    (head,) = (read([at_rest(cube)]) or {}).values()
    facets = facets_of(cube)
    assert dict(RestingFacets(head)) == facets
    for name in (*FIELDS, "attributes.none", *facets):
        assert RestingFacets(head).get(name) == facets.get(name)


def test_LIFE_1_only_moves_of_different_memories_are_planned_together() -> None:
    def wrapped(*operations: Operation, **given: object) -> list[Submission]:
        context = CallContext(Principal(TENANT, OWNER))
        return [Submission(context, Write("", one, **given)) for one in operations]  # type: ignore[arg-type]

    keys = frozenset((CubeKey(TENANT, "a"), CubeKey(TENANT, "b")))
    assert moves(wrapped(Archive("a"), Restore("b"))) == keys
    others = (
        wrapped(Archive("a"), Restore("a")),
        wrapped(Archive("a"), Freeze("b")),
        wrapped(Create(Plaintext("x"), id="a")),
        wrapped(Restore("a", state_of=1)),
        wrapped(Archive("a"), idempotency_key="k"),
        wrapped(Archive("a"), branched_at=make_cube().version.created_at),
    )
    assert [moves(one) for one in others] == [None] * len(others)


def test_LIFE_1_what_is_no_text_moves_by_itself() -> None:
    text, adapter = make_cube("x"), make_cube(payload=ParameterRef("ab" * 32, "tiny", 8, 100))
    resting = [at_rest(c) for c in (text, adapter)]
    assert list(read(resting[:1]) or ()) == [key_of(text)]
    assert read(resting) is None
    with pytest.raises(StoreCorruptError):
        read([at_rest(text)._replace(body=b"{}")])
