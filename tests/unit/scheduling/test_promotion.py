"""When memories become a KV cache by their use: not too early, and never to and fro."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.scheduling import Candidate, Promoting, promotion

RULES = Promoting(enter=4.0, leave=0.5, carry=0.05, tokens_max=1000, tokens_min=10)

candidates = st.lists(
    st.builds(
        Candidate,
        cube_id=st.uuids().map(str),
        uses=st.floats(0, 50),
        tokens=st.integers(1, 500),
        inside=st.booleans(),
    ),
    max_size=20,
    unique_by=lambda one: one.cube_id,
)


def test_what_is_used_often_enters_and_what_is_not_stays_out() -> None:
    often = Candidate("often", 5.0, 100)
    found = promotion([often, Candidate("seldom", 3.0, 100)], 5.0, RULES)
    assert (found.members, found.entered, found.left) == (("often",), ("often",), ())


def test_in_between_everything_stays_as_it_is() -> None:
    inside, outside = Candidate("in", 2.0, 100, True), Candidate("out", 2.0, 100)
    found = promotion([inside, outside], 2.0, RULES)
    assert found.members == ("in",) and not found.changes


def test_what_cools_down_leaves() -> None:
    found = promotion([Candidate("cold", 0.2, 100, True)], 0.0, RULES)
    assert (found.members, found.left) == ((), ("cold",))


def test_what_few_of_many_prompts_need_is_not_carried_by_all() -> None:
    one = Candidate("rare", 6.0, 100)
    assert promotion([one], 6.0, RULES).members == ("rare",)
    assert promotion([one], 200.0, RULES).members == ()
    assert promotion([replace(one, inside=True)], 200.0, RULES).left == ("rare",)


def test_one_that_is_a_little_better_pushes_nothing_out() -> None:
    inside = Candidate("in", 5.0, 900, True)
    better = Candidate("better", 9.0, 900)
    assert promotion([inside, better], 9.0, RULES).members == ("in",)


def test_too_little_is_no_cache() -> None:
    assert promotion([Candidate("short", 9.0, 9)], 9.0, RULES).members == ()
    assert promotion([Candidate("short", 9.0, 9, True)], 9.0, RULES).left == ("short",)


@given(candidates, st.floats(0, 100))
def test_whatever_is_decided_is_within_bounds_and_stays(
    found: list[Candidate], prompts: float
) -> None:
    made = promotion(found, prompts, RULES)
    tokens = {one.cube_id: one.tokens for one in found}
    assert len(set(made.members)) == len(made.members)
    assert sum(tokens[one] for one in made.members) <= RULES.tokens_max
    inside = {one.cube_id for one in found if one.inside}
    assert set(made.members) == (inside | set(made.entered)) - set(made.left)
    # With nothing used meanwhile, the next decision is the same.
    then = [replace(one, inside=one.cube_id in made.members) for one in found]
    again = promotion(then, prompts, RULES)
    assert not again.changes, (made, again)


@given(candidates, st.floats(0, 100))
def test_the_order_of_the_candidates_does_not_matter(
    found: list[Candidate], prompts: float
) -> None:
    assert promotion(found, prompts, RULES) == promotion(found[::-1], prompts, RULES)
