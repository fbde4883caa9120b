"""READ-3: how memories are cut into jobs, and when one is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.cube.metadata import Setting
from memos_ray.core.extraction import (
    Done,
    Job,
    Marked,
    Totals,
    jobs_of,
    pause_s,
    retried,
)
from memos_ray.errors import StoreCorruptError
from memos_ray.testing.cubes import START, make_cube

ANN = CallContext(Principal("acme", "user:ann", ("clerk",), "key:k1", (Action.READ,)), "support")
BOB = CallContext(Principal("acme", "user:bob"))
HOUR = timedelta(hours=1)


def marked(
    id: str,
    lsn: int,
    *,
    context: CallContext = ANN,
    conversation: str | None = "chat",
    position: int | None = None,
    text: str = "hello",
) -> Marked:
    setting = Setting(conversation, position=position)
    cube = make_cube(text, id=id, owner=context.principal.id, setting=setting)
    return Marked(lsn, context, cube)


def cut(*found: Marked, most: int = 3, tokens: int = 10_000) -> list[tuple[str, ...]]:
    return [job.ids for job in jobs_of(found, most, tokens)]


def test_READ_3_turns_of_one_conversation_are_read_together_in_its_order() -> None:
    turns = [marked(f"c{place}", 9 - place, position=place) for place in range(5)]
    assert cut(*reversed(turns)) == [("c0", "c1", "c2"), ("c3", "c4")]
    first = next(jobs_of(turns, 3, 10_000))
    assert (first.source, first.last_lsn, first.tenant, first.owner) == (
        "chat",
        9,
        "acme",
        "user:ann",
    )


def test_READ_3_owners_rights_and_conversations_do_not_mix() -> None:
    found = cut(
        marked("a1", 1),
        marked("b1", 2, context=BOB),
        marked("a2", 3),
        marked("a3", 4, conversation="other"),
        marked("a4", 5, context=CallContext(ANN.principal, "training")),
        marked("a5", 6, conversation=None),
    )
    assert {frozenset(ids) for ids in found} == {
        frozenset(ids) for ids in [{"a1", "a2"}, {"b1"}, {"a3"}, {"a4"}, {"a5"}]
    }


def test_READ_3_long_memories_are_read_by_themselves() -> None:
    long = "word " * 400
    turns = [marked(f"c{place}", place, position=place, text=long) for place in range(3)]
    assert cut(*turns, tokens=100) == [("c0",), ("c1",), ("c2",)]
    assert cut(*turns, tokens=1600) == [("c0", "c1"), ("c2",)]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 1), st.text(max_size=50)),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 5),
)
def test_READ_3_every_memory_is_in_one_job(made: list[tuple[int, int, str]], most: int) -> None:
    turns = [
        marked(
            f"c{place}",
            place,
            context=(ANN, BOB)[who],
            conversation=("x", "y", None)[where],
            text=text or "x",
        )
        for place, (where, who, text) in enumerate(made)
    ]
    jobs = list(jobs_of(turns, most, 300))
    ids = [id for job in jobs for id in job.ids]
    assert sorted(ids) == sorted(turn.cube.id for turn in turns)
    assert all(len(job.ids) <= most for job in jobs)
    assert len({job.id for job in jobs}) == len(jobs)
    for job in jobs:
        assert Job.from_bytes(job.id, "acme", "notes", job.to_bytes()) == job


def job(**changes: object) -> Job:
    values: dict[str, object] = {"attempts": 2, "not_before": START, **changes}
    return Job("j1", "notes", ANN.aside(), "chat", ("c1",), 7, **values)  # type: ignore[arg-type]


def test_READ_3_a_job_survives_its_row() -> None:
    one = job(parked="unavailable")
    assert Job.from_bytes("j1", "acme", "notes", one.to_bytes()) == one
    for body in (b"", b"{}", b"[]", b'{"principal": 3}'):
        with pytest.raises(StoreCorruptError):
            Job.from_bytes("j1", "acme", "notes", body)


def test_READ_3_a_job_that_fails_is_parked_after_some_tries() -> None:
    later = retried(job(), "unavailable", 3, 5.0, START)
    assert (later.parked, later.not_before) == (None, START + timedelta(seconds=5))
    given_up = retried(job(attempts=3), "unavailable", 3, 5.0, START)
    assert (given_up.parked, given_up.not_before) == ("unavailable", None)


@pytest.mark.parametrize(
    ("failures", "dice", "expected"),
    [(1, 0.0, 1.0), (1, 0.5, 2.0), (2, 0.5, 4.0), (3, 0.5, 8.0), (9, 0.5, 60.0), (9999, 0.5, 60.0)],
)
def test_READ_3_pauses_double_up_to_a_bound(failures: int, dice: float, expected: float) -> None:
    assert pause_s(failures, 2.0, 60.0, dice) == expected


def done(id: str, at: datetime = START, source: str = "chat") -> Done:
    return Done(id, source, "user:ann", 3, 2, 50, {"support": 1}, at)


def test_READ_3_a_job_counts_once_however_often_it_is_told() -> None:
    totals = Totals().plus(done("j1")).plus(done("j1")).plus(done("j2"))
    assert (totals.done, totals.read, totals.memories, totals.tokens) == (2, 6, 4, 100)
    assert totals.refused == {"support": 2}
    (source,) = totals.sources
    assert (source.read, source.memories, source.refused, source.tokens) == (6, 4, 2, 100)
    again = Totals.from_bytes(totals.to_bytes())
    assert again == totals
    with pytest.raises(StoreCorruptError):
        Totals.from_bytes(b"[]")


def test_READ_3_counts_of_old_sources_end_and_the_sums_stay() -> None:
    totals = Totals()
    for place in range(200):
        totals = totals.plus(done(f"j{place}", source=f"s{place}"))
    assert (totals.done, len(totals.sources), totals.sources[-1].source) == (200, 64, "s199")
    assert len(totals.to_bytes()) < 20_000
