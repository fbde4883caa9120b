"""Stateful: whatever happens to memories, each is in one concept, and concepts are made of their
members and of nothing else (OPER-1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memos_ray.core.cube.facets import Facets
from memos_ray.core.organising.concepts import Concepts
from memos_ray.core.organising.labels import Labeller
from memos_ray.core.organising.rows import audiences_of, total_of
from memos_ray.core.organising.topics import join, look, topics
from memos_ray.core.retrieval import IndexedMemory, ResidentIndex, VectorSet
from memos_ray.core.retrieval.views import quantise_rows

DIM, THEMES = 24, 6
OWNERS = ("user:ann", "user:bob")
_RANDOM = np.random.default_rng(7)
_CENTRES = _RANDOM.normal(size=(THEMES, DIM)).astype(np.float32)
Vector = npt.NDArray[np.float32]


def vector(theme: int, number: int) -> Vector:
    noise = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
    return (_CENTRES[theme] + 0.4 * noise).astype(np.float32)


def enter(index: ResidentIndex, number: int, theme: int, owner: str = OWNERS[0]) -> None:
    """Enters a memory of a theme, stored at the moment of its number."""
    facets: Facets = {"owner": owner, "visibility": "private", "created_at": number}
    memory = IndexedMemory(f"m{number:05d}", f"theme{theme} text{number}", facets)
    index.upsert([memory])
    for plan in index.stale_views():
        if plan.id == memory.id:
            rows = np.repeat(vector(theme, number)[None, :], len(plan.views), axis=0)
            index.attach_vectors(plan.id, VectorSet.quantise(plan.views, rows))


def finish(concepts: Concepts, index: ResidentIndex, most: int = 64) -> None:
    while concepts.tend(index.store, most).waiting:
        pass


def groups(concepts: Concepts, index: ResidentIndex) -> set[frozenset[str]]:
    codes, ids = concepts.standing(index.store), index.store.frame.ids
    return {
        frozenset(ids[slot] for slot in np.flatnonzero(codes == code).tolist())
        for code in np.unique(codes[codes > 0]).tolist()
    }


class Tended(RuleBasedStateMachine):
    """Memories come, change, are shared and go, between any pieces of tending."""

    def __init__(self) -> None:
        super().__init__()
        self.index = ResidentIndex(DIM)
        self.concepts = Concepts(DIM)
        self.held: dict[int, tuple[int, str]] = {}
        self.next = 0

    @rule(themes=st.lists(st.integers(0, THEMES - 1), min_size=1, max_size=30))
    def come(self, themes: list[int]) -> None:
        for theme in themes:
            owner = OWNERS[self.next % 5 == 0]
            enter(self.index, self.next, theme, owner)
            self.held[self.next] = theme, owner
            self.next += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        gone = data.draw(st.sets(st.sampled_from(sorted(self.held)), max_size=8))
        store = self.index.store
        before = self.concepts.standing(store)
        concerned = {int(before[store.frame.slot_of[f"m{number:05d}"]]) for number in gone}
        self.index.remove([f"m{number:05d}" for number in gone])
        for number in gone:
            del self.held[number]
        # Nothing of them is left in a centre, once anything is done at all.
        self.concepts.tend(store, 0)
        after = self.concepts.standing(store)
        for code in concerned - {0}:
            members = np.flatnonzero(after == code)
            if len(members):
                total = total_of(store, members).astype(np.float32)
                scales, rows = quantise_rows(total[None, :])
                assert np.array_equal(self.concepts.centre(code), rows[0] * np.float64(scales[0]))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), theme=st.integers(0, THEMES - 1), owner=st.sampled_from(OWNERS))
    def change(self, data: st.DataObject, theme: int, owner: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.held)))
        enter(self.index, number, theme, owner)
        self.held[number] = theme, owner

    @rule(most=st.integers(1, 50))
    def tend(self, most: int) -> None:
        self.concepts.tend(self.index.store, most)

    @invariant()
    def what_is_gone_or_changed_stands_in_no_concept(self) -> None:
        store = self.index.store
        codes, audiences = self.concepts.standing(store), audiences_of(store)
        assert not codes[~store.frame.live[: store.frame.high]].any()
        for code in np.unique(codes[codes > 0]).tolist():
            assert len(np.unique(audiences[codes == code])) == 1

    @invariant()
    def in_the_end_each_is_in_one_concept_which_is_the_sum_of_its_members(self) -> None:
        finish(self.concepts, self.index)
        store = self.index.store
        codes = self.concepts.standing(store)
        assert {store.frame.ids[slot] for slot in np.flatnonzero(codes).tolist()} == {
            f"m{number:05d}" for number in self.held
        }
        for code in np.unique(codes[codes > 0]).tolist():
            members = np.flatnonzero(codes == code)
            data, scales = store.own.rows(members)
            along = (data * scales[:, None]) @ self.concepts.centre(code)
            # A centre lags behind those who came since centres last moved, and behind no other.
            assert along.max() > 0.3
        assert len(self.concepts) == len(np.unique(codes[codes > 0]))


TestTended = Tended.TestCase
TestTended.settings = settings(max_examples=30, stateful_step_count=20)


@given(
    themes=st.lists(st.integers(0, THEMES - 1), min_size=1, max_size=120),
    pieces=st.lists(st.integers(1, 40), min_size=1, max_size=6),
)
def test_OPER_1_the_same_memories_in_the_same_order_make_the_same_concepts(
    themes: list[int], pieces: list[int]
) -> None:
    """Whether they are taken one by one as they come, in pieces, or all at once after a restart."""
    index, one, other, late = ResidentIndex(DIM), *(Concepts(DIM) for _ in range(3))
    for number, theme in enumerate(themes):
        enter(index, number, theme)
        one.tend(index.store, 1)
        other.tend(index.store, pieces[number % len(pieces)])
    finish(other, index)
    again = ResidentIndex(DIM)
    # Another shard loads them in another order.
    for number, theme in reversed(list(enumerate(themes))):
        enter(again, number, theme)
    finish(late, again, pieces[0])
    assert groups(one, index) == groups(other, index) == groups(late, again)


@settings(max_examples=12)
@given(seed=st.integers(0, 50))
def test_OPER_1_concepts_made_bit_by_bit_are_about_as_close_as_made_at_once(seed: int) -> None:
    """Bounds: the mean cosine of a memory with its centre differs by at most 0.1, also when half
    have gone; there are no more concepts than a namespace of its size is to have, and a group."""
    random = np.random.default_rng(seed)
    index, kept = ResidentIndex(DIM), Concepts(DIM)
    themes = random.integers(THEMES, size=240).tolist()
    gone = [number for number in range(240) if random.random() < 0.5]
    for number, theme in enumerate(themes):
        enter(index, number, theme)
        kept.tend(index.store, 8)
    index.remove([f"m{number:05d}" for number in gone])
    finish(kept, index)
    fresh, batch = ResidentIndex(DIM), Concepts(DIM)
    for number in sorted(set(range(240)) - set(gone)):
        enter(fresh, number, themes[number])
    finish(batch, fresh)
    assert abs(closeness(kept, index) - closeness(batch, fresh)) < 0.1
    for one in (kept, batch):
        assert len(one) <= 16 + 4 * 16 + 60


def closeness(concepts: Concepts, index: ResidentIndex) -> float:
    store = index.store
    codes = concepts.standing(store)
    slots = np.flatnonzero(codes)
    data, scales = store.own.rows(slots)
    centres = np.stack([concepts.centre(int(code)) for code in codes[slots]])
    return float((data * scales[:, None] * centres).sum(axis=1).mean())


@given(
    hidden=st.lists(st.integers(0, THEMES - 1), max_size=40),
    seen=st.lists(st.integers(0, THEMES - 1), min_size=1, max_size=40),
)
def test_OPER_1_what_another_audience_holds_changes_nothing(
    hidden: list[int], seen: list[int]
) -> None:
    views = []
    for others in ([], hidden):
        index, concepts = ResidentIndex(DIM), Concepts(DIM)
        for number, theme in enumerate(others):
            enter(index, 1000 + number, theme, OWNERS[1])
        for number, theme in enumerate(seen):
            enter(index, number, theme)
        finish(concepts, index)
        frame = index.store.frame
        mine = np.array([id != "" and int(id[1:]) < 1000 for id in frame.ids[: frame.high]])
        view = topics(look(concepts, index.store, mine), Labeller())
        views.append(
            [
                (one.id, one.words, one.memories, one.typical, {c.id for c in one.concepts})
                for one in view.topics
            ]
        )
    assert views[0] == views[1]


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=25),
    wanted=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_OPER_1_joining_loses_and_doubles_nothing(sizes: list[int], wanted: int, seed: int) -> None:
    sums = np.random.default_rng(seed).normal(size=(len(sizes), DIM)) * np.array(sizes)[:, None]
    made = join(sums, np.array(sizes, np.int64), wanted)
    assert sorted(place for group in made for place in group) == list(range(len(sizes)))
    assert len(made) == min(wanted, len(sizes))
