"""Stateful: however facts come, are accepted and refused, none is lost (OPER-4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memos_ray.core.cube.cube import MemCube, State
from memos_ray.core.organising import judge, propose, writes_of
from memos_ray.core.organising.judging import in_order, moment_of
from memos_ray.core.vault.changes import revise
from memos_ray.core.vault.operations import Update
from memos_ray.testing.cubes import make_cube

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CITIES = ("Oslo", "Berlin", "Rome", "Lima")
PEOPLE = ("Ann", "Ben")


@dataclass
class Held:
    """A memory with all its versions."""

    versions: list[MemCube] = field(default_factory=list)

    @property
    def head(self) -> MemCube:
        return self.versions[-1]


class Organised(RuleBasedStateMachine):
    """Facts of where people live come in any order; pairs are judged, and what is proposed is
    carried out or not."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, Held] = {}
        self.texts: dict[str, str] = {}
        self.now = BEGIN + timedelta(days=1000)

    @rule(
        person=st.sampled_from(PEOPLE),
        city=st.sampled_from(CITIES),
        day=st.integers(0, 30),
        timed=st.booleans(),
    )
    def tell(self, person: str, city: str, day: int, timed: bool) -> None:
        self.now += timedelta(minutes=1)
        said = BEGIN + timedelta(days=day) if timed else None
        cube = make_cube(f"{person} lives in {city}.", at=self.now, event_time=said)
        self.held[cube.id] = Held([cube])
        self.texts[cube.id] = cube.text

    @precondition(lambda self: len(self.held) > 1)
    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        ids = st.sampled_from(sorted(self.held))
        one, other = self.held[data.draw(ids)].head, self.held[data.draw(ids)].head
        judgement = judge(one, other)
        if judgement is None:
            return
        self.now += timedelta(minutes=1)
        proposal = propose(other, one, judgement, self.now)
        assert proposal == propose(one, other, judgement, self.now)
        older, newer = in_order(one, other)
        writes = writes_of(proposal.kind, older, newer, self.now)
        for write in writes:
            operation = write.operation
            assert isinstance(operation, Update)
            held = self.held[operation.cube_id]
            made = revise(operation, held.head, author="user:ann", now=self.now, reason=None)
            assert made is not None
            held.versions.append(made)
        assert judge(self.held[one.id].head, self.held[other.id].head) is None

    @invariant()
    def no_text_changes_and_nothing_is_deleted(self) -> None:
        for id, held in self.held.items():
            assert {cube.text for cube in held.versions} == {self.texts[id]}
            assert held.head.state is not State.DELETED

    @invariant()
    def every_fact_still_stands_or_names_what_stands_for_it(self) -> None:
        """Following the sources of what has ended leads to a memory that holds."""
        for held in self.held.values():
            cube, seen = held.head, set[str]()
            while cube.descriptive.valid_to is not None:
                assert cube.id not in seen
                seen.add(cube.id)
                named = cube.descriptive.sources[-1].cube_id
                assert named is not None
                cube = self.held[named].head

    @invariant()
    def what_has_ended_held_until_the_next_was_told(self) -> None:
        for held in self.held.values():
            cube = held.head
            if cube.descriptive.valid_to is not None:
                assert moment_of(cube) <= cube.descriptive.valid_to
                assert held.versions[0].descriptive.valid_to is None

    @invariant()
    def someone_who_was_said_to_live_somewhere_still_does(self) -> None:
        for person in PEOPLE:
            told = [held.head for held in self.held.values() if held.head.text.startswith(person)]
            assert not told or any(cube.descriptive.valid_to is None for cube in told)


TestOPER_4_supersession_loses_no_fact = Organised.TestCase
