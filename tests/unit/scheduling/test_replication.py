"""SCHED-4: what is hot lies on another replica before its holder overflows, until it is cold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.scheduling.replication import Copies, CopyDecision, Replicating
from memos_ray.core.scheduling.routing import Candidate, RoutingPolicy, preferred

RULES = Replicating(copies_max=2, enter_uses=8, leave_uses=2, enter_requests=3, half_life_s=60)


def replica(name: str, ongoing: int = 0, held: int = 0, recent: bool = False) -> Candidate:
    return Candidate(name, ongoing, capacity=32, held_tokens=held, recent=recent)


def asked(
    copies: Copies, candidates: list[Candidate], times: int = 1, now: float = 0.0
) -> tuple[list[Candidate], CopyDecision]:
    for _ in range(times):
        found, decision = copies.weigh(["block"], candidates, now)
    assert decision is not None
    return found, decision


def held(candidates: list[Candidate]) -> set[str]:
    return {one.id for one in candidates if one.held_tokens}


def test_SCHED_4_a_hot_name_comes_to_the_least_busy_replica_as_well() -> None:
    copies = Copies(RULES)
    busy = [replica("a", 5, held=512), replica("b", 2), replica("c", 1)]
    found, decision = asked(copies, busy, times=8)
    assert decision.changed and decision.copies == 2
    assert decision.reason == "8.0 requests lately, its holders have 4.0 more to do than others"
    assert held(found) == {"a", "c"}
    assert preferred(found, RoutingPolicy())[0] == "c"
    assert copies.counters == {"copies_added": 1}


def test_SCHED_4_use_alone_or_load_alone_makes_no_copy() -> None:
    idle = [replica("a", 2, held=512), replica("b")]
    found, decision = asked(Copies(RULES), idle, times=100)
    assert not decision.changed and held(found) == {"a"}
    busy = [replica("a", 30, held=512), replica("b")]
    found, decision = asked(Copies(RULES), busy, times=3)
    assert not decision.changed and held(found) == {"a"}


def test_SCHED_4_there_is_hysteresis() -> None:
    copies = Copies(RULES)
    asked(copies, [replica("a", 5, held=512), replica("b")], times=8)
    calm = [replica("a", 1, held=512, recent=True), replica("b", 1, held=512)]
    # Seven requests are left after a quarter of a minute; four are enough for two copies.
    found, decision = asked(copies, calm, now=20.0)
    assert decision.copies == 2 and held(found) == {"a", "b"}
    found, decision = asked(copies, calm, now=240.0)
    assert decision.changed and decision.copies == 1
    assert decision.reason == "too few for 2 copies: 1.6 requests lately"
    assert held(found) == {"a"}, "the one that was asked last stays"
    assert copies.counters == {"copies_added": 1, "copies_dropped": 1}


def test_SCHED_4_copies_stay_within_their_budget() -> None:
    copies = Copies(Replicating(tokens_max=600))
    busy = [replica("a", 9, held=512), replica("b")]
    _, decision = asked(copies, busy, times=20)
    assert decision.copies == 2
    for _ in range(20):
        _, other = copies.weigh(["another"], busy, 0.0)
    assert other is not None and other.copies == 1
    assert other.reason.startswith("no room for another copy")


def test_SCHED_4_a_lost_copy_is_made_anew() -> None:
    copies = Copies(RULES)
    asked(copies, [replica("a", 5, held=512), replica("b")], times=8)
    found, decision = asked(copies, [replica("a", 1, held=512), replica("d")])
    assert decision.copies == 2 and not decision.changed
    assert held(found) == {"a", "d"}


def test_SCHED_4_one_copy_is_all_where_no_more_are_wanted() -> None:
    copies = Copies(Replicating(copies_max=1))
    found, decision = asked(copies, [replica("a", 30, held=512), replica("b")], times=100)
    assert not decision.changed and held(found) == {"a"}


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["x", "y"]),
            st.lists(
                st.tuples(st.integers(0, 40), st.sampled_from([0, 512])), min_size=1, max_size=5
            ),
            st.floats(0, 300),
        ),
        max_size=40,
    ),
    copies_max=st.integers(1, 4),
)
def test_SCHED_4_no_replica_is_lost_and_no_more_copies_are_made_than_allowed(
    steps: list[tuple[str, list[tuple[int, int]], float]], copies_max: int
) -> None:
    copies, now = Copies(Replicating(copies_max=copies_max)), 0.0
    for name, replicas, pause_s in steps:
        now += pause_s
        candidates = [
            replica(str(number), ongoing, tokens)
            for number, (ongoing, tokens) in enumerate(replicas)
        ]
        found, decision = copies.weigh([name], candidates, now)
        assert [one.id for one in found] == [one.id for one in candidates]
        there = held(candidates)
        assert (decision is None) is (not there)
        if decision is not None:
            assert 1 <= decision.copies <= copies_max
            assert held(found), "somebody who holds it is left"
            assert len(held(found) - there) <= 1
