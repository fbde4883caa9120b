"""Where a request goes: to a holder, until others are far less busy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.scheduling.routing import (
    Candidate,
    Placements,
    Recent,
    RoutingPolicy,
    preferred,
)

POLICY = RoutingPolicy(holder_requests=8, request_tokens=64, margin_requests=1, expected_s=5.0)


def replica(name: str, ongoing: int | None = 0, held: int = 0, recent: bool = False) -> Candidate:
    return Candidate(name, ongoing, capacity=32, held_tokens=held, recent=recent)


class TestPreferred:
    def test_where_nobody_holds_anything_nobody_is_preferred(self) -> None:
        assert preferred([replica("a"), replica("b", 3)], POLICY) == []
        assert preferred([], POLICY) == []

    def test_a_holder_comes_first(self) -> None:
        found = preferred([replica("a"), replica("b", held=128), replica("c")], POLICY)
        assert found == ["b", "a", "c"]

    def test_the_more_is_held_the_longer_one_waits_for_it(self) -> None:
        for held, worth in ((64, 1), (256, 4), (512, 8), (100_000, 8)):
            waiting = preferred([replica("a"), replica("b", worth, held=held)], POLICY)
            assert waiting == ["b", "a"], held
            leaving = preferred([replica("a"), replica("b", worth + 1, held=held)], POLICY)
            assert leaving == ["a", "b"], held

    def test_an_overloaded_holder_loses_to_an_idle_stranger(self) -> None:
        busy = replica("b", 31, held=100_000, recent=True)
        assert preferred([busy, replica("a")], POLICY)[0] == "a"

    def test_a_full_holder_comes_last(self) -> None:
        full = replica("b", 32, held=100_000, recent=True)
        assert preferred([full, replica("a", 31)], POLICY) == ["a", "b"]

    def test_of_two_holders_the_recent_one_stays_until_the_other_is_less_busy_by_more(self) -> None:
        other = replica("a", 2, held=512)
        for margin, ongoing, first in ((1, 3, "b"), (1, 4, "a"), (2, 4, "b"), (2, 5, "a")):
            policy = replace(POLICY, margin_requests=margin)
            recent = replica("b", ongoing, held=512, recent=True)
            for candidates in ([other, recent], [recent, other]):
                assert preferred(candidates, policy)[0] == first, (margin, ongoing)

    def test_it_can_be_turned_off(self) -> None:
        off = replace(POLICY, holder_requests=0)
        assert preferred([replica("a"), replica("b", held=512, recent=True)], off) == []

    @given(
        st.lists(
            st.builds(
                Candidate,
                id=st.uuids().map(str),
                ongoing=st.none() | st.integers(0, 40),
                capacity=st.just(32),
                held_tokens=st.integers(0, 5000),
                recent=st.booleans(),
            ),
            unique_by=lambda one: one.id,
        )
    )
    def test_everybody_is_in_and_the_first_is_never_much_busier(
        self, candidates: list[Candidate]
    ) -> None:
        found = preferred(candidates, POLICY)
        if not found:
            assert not any(one.held_tokens for one in candidates)
            return
        assert sorted(found) == sorted(one.id for one in candidates)
        first = next(one for one in candidates if one.id == found[0])
        least = min(one.ongoing or 0 for one in candidates)
        most = POLICY.holder_requests + POLICY.margin_requests
        assert (first.ongoing or 0) <= least + most


class TestPlacements:
    def test_what_was_just_sent_counts_until_the_replica_should_have_said_so(self) -> None:
        placements = Placements(POLICY)
        placements.sent(["kv"], "a", now=10.0)
        assert self._held(placements, "a", now=14.9) == 512
        assert self._held(placements, "b", now=14.9) == 0
        assert self._held(placements, "a", now=15.1) == 0

    def test_what_a_replica_says_goes_before(self) -> None:
        placements = Placements(POLICY)
        placements.sent(["kv"], "a", now=10.0)
        assert self._held(placements, "a", now=10.0, reported={"kv": 96}) == 96
        assert self._held(placements, "a", now=99.0, reported={"kv": 96}) == 96

    def test_the_longest_of_what_is_held_counts(self) -> None:
        held = {"kv": 512, "talk": 900, "another": 5000}
        view = Placements(POLICY).view("a", ["kv", "talk"], held, ongoing=0, capacity=4, now=0.0)
        assert view.held_tokens == 900

    def test_the_recent_one_is_that_of_the_most_specific_name(self) -> None:
        placements = Placements(POLICY)
        placements.sent(["kv", "talk"], "a", now=1.0)
        placements.sent(["kv"], "b", now=2.0)
        assert self._recent(placements, ["kv"]) == {"b"}
        assert self._recent(placements, ["kv", "talk"]) == {"a"}
        assert self._recent(placements, ["unknown"]) == set()

    def _held(
        self,
        placements: Placements,
        replica: str,
        now: float,
        reported: dict[str, int] | None = None,
    ) -> int:
        view = placements.view(replica, ["kv"], reported or {}, ongoing=0, capacity=4, now=now)
        return view.held_tokens

    def _recent(self, placements: Placements, names: list[str]) -> set[str]:
        views = [
            placements.view(one, names, {}, ongoing=0, capacity=4, now=3.0) for one in ("a", "b")
        ]
        return {view.id for view in views if view.recent}


class TestRecent:
    def test_what_was_put_longest_ago_goes(self) -> None:
        recent: Recent[int] = Recent(limit=2)
        for name, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
            recent.put(name, value)
        assert recent.all() == {"a": 3, "c": 4}
        assert (recent.get("a"), recent.get("b")) == (3, None)
