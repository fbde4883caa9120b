"""SCHED-2: what stays where there is not room for all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.scheduling.policies import (
    HALF_LIFE_S,
    Budget,
    ByLabel,
    BySimilarity,
    CostBased,
    Holding,
    Keeper,
    LeastRecentlyUsed,
    RetentionPolicy,
    UseRates,
    Uses,
    victims,
)
from memos_ray.core.scheduling.policies.trials import Trials

ROOMY = Budget(1 << 40, 1 << 40)
POLICIES: list[RetentionPolicy] = [
    CostBased(),
    LeastRecentlyUsed(),
    ByLabel(("shared", "conversation")),
    BySimilarity(),
]


def uses(count: float = 0.0, at: float = 0.0) -> Uses:
    return Uses((count, count), at, at)


holdings = st.builds(
    Holding,
    tenant=st.sampled_from(["acme", "zoo"]),
    size_bytes=st.integers(0, 100),
    build_s=st.floats(0, 100),
    pinned=st.booleans(),
    label=st.sampled_from(["", "shared", "conversation"]),
    uses=st.builds(uses, st.floats(0, 100), st.floats(0, 100)),
    similarity=st.floats(0, 1),
)


def held(size: int = 10, *, count: float = 0.0, at: float = 0.0, **changes: object) -> Holding:
    values = {"tenant": "acme", "size_bytes": size, "build_s": 1.0, "uses": uses(count, at)}
    return Holding(**{**values, **changes})  # type: ignore[arg-type]


def going(
    all_held: dict[str, Holding], budget: Budget, policy: RetentionPolicy, now: float = 0.0
) -> list[str]:
    return victims(all_held, budget, lambda one: policy.worth(one, one.uses.rate(now), now))


def test_SCHED_2_a_use_counts_for_half_after_an_hour() -> None:
    one = held()
    one.uses.add(0.0)
    assert one.heat(HALF_LIFE_S) == pytest.approx(0.5)
    one.uses.add(HALF_LIFE_S)
    assert one.heat(HALF_LIFE_S) == pytest.approx(1.5)
    assert one.heat(0.0) == pytest.approx(1.5), "a clock that stands still takes nothing away"


def test_SCHED_2_lru_lets_go_of_what_was_used_longest_ago() -> None:
    all_held = {"new": held(at=9.0), "old": held(at=1.0), "mid": held(at=5.0)}
    lru = LeastRecentlyUsed()
    assert going(all_held, Budget(20, 99), lru, 10.0) == ["old"]
    assert going(all_held, Budget(5, 99), lru, 10.0) == ["old", "mid", "new"]


def test_SCHED_2_cost_lets_go_of_what_saves_least_for_its_bytes() -> None:
    all_held = {
        "big and cheap": held(100, build_s=1.0, count=5.0),
        "small and dear": held(10, build_s=9.0, count=5.0),
        "never used": held(10, build_s=9.0),
        "dear, but a use saves little": held(10, build_s=9.0, saves_s=0.05, count=5.0),
    }
    order = going(all_held, Budget(0, 0), CostBased())
    assert order == [
        "never used",
        "dear, but a use saves little",
        "big and cheap",
        "small and dear",
    ]


def test_SCHED_2_what_changes_more_often_than_it_is_used_is_worth_less() -> None:
    stable, changing = held(count=4.0), held(count=4.0, changes=uses(12.0))
    worth = CostBased().worth
    assert worth(changing, 1e-3, 0.0) < worth(stable, 1e-3, 0.0) / 2
    assert worth(changing, 1.0, 0.0) == pytest.approx(worth(stable, 1.0, 0.0), rel=0.01)


def test_SCHED_2_labels_come_before_use() -> None:
    all_held = {
        "other": held(at=9.0),
        "conversation": held(label="conversation", at=9.0),
        "shared": held(label="shared", at=1.0),
        "shared too": held(label="shared", at=2.0),
    }
    order = going(all_held, Budget(0, 0), ByLabel(("shared", "conversation")), 10.0)
    assert order == ["other", "conversation", "shared", "shared too"]


def test_SCHED_2_similarity_follows_the_last_questions() -> None:
    alike, unlike = held(at=1.0), held(at=9.0)
    for _ in range(4):
        alike.asked(1.0)
        unlike.asked(0.1)
    all_held = {"alike": alike, "unlike": unlike}
    assert going(all_held, Budget(10, 99), BySimilarity(), 10.0) == ["unlike"]
    for _ in range(9):
        alike.asked(0.0)
        unlike.asked(0.9)
    assert going(all_held, Budget(10, 99), BySimilarity(), 10.0) == ["alike"]


def test_SCHED_2_a_tenant_over_its_share_gives_up_its_own() -> None:
    all_held = {"hers": held(tenant="zoo", at=0.0), "old": held(at=1.0), "new": held(at=2.0)}
    assert going(all_held, Budget(1000, 15), LeastRecentlyUsed(), 3.0) == ["old"]


def test_SCHED_2_the_newcomer_stays_unless_only_pinned_ones_are_beside_it() -> None:
    beside = {"new": held(), "other": held(count=50.0)}

    def go() -> list[str]:
        return victims(beside, Budget(10, 99), lambda one: one.uses.heat(0.0), newcomer="new")

    assert go() == ["other"]
    beside["other"].pinned = True
    assert go() == ["new"]


@pytest.mark.parametrize("policy", POLICIES)
@given(
    all_held=st.dictionaries(st.integers(0, 30), holdings, max_size=20),
    total=st.integers(0, 500),
    share=st.integers(0, 500),
    newcomer=st.integers(0, 30),
)
def test_SCHED_2_the_rest_is_within_the_budget_but_for_pinned_ones(
    policy: RetentionPolicy,
    all_held: dict[int, Holding],
    total: int,
    share: int,
    newcomer: int,
) -> None:
    def worth(one: Holding) -> float:
        return policy.worth(one, one.uses.rate(100.0), 100.0)

    gone = victims(all_held, Budget(total, share), worth, newcomer)
    assert len(set(gone)) == len(gone)
    assert not any(all_held[key].pinned for key in gone)
    left = {key: one for key, one in all_held.items() if key not in gone}
    free = [one for one in left.values() if not one.pinned]
    for tenant in ("acme", "zoo"):
        size = sum(one.size_bytes for one in left.values() if one.tenant == tenant)
        assert size <= share or not [one for one in free if one.tenant == tenant]
    assert sum(one.size_bytes for one in left.values()) <= total or not free
    assert victims(all_held, ROOMY, worth) == []


@pytest.mark.parametrize("policy", POLICIES)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["use", "hold", "outdated", "let_go"]),
            st.integers(0, 9),
            st.integers(1, 60),
        ),
        max_size=60,
    )
)
def test_SCHED_2_a_keeper_stays_within_its_budget_whatever_comes(
    policy: RetentionPolicy, steps: list[tuple[str, int, int]]
) -> None:
    keeper: Keeper[int] = Keeper(Budget(100, 80), policy, history=5)
    for now, (step, key, size) in enumerate(steps):
        if step == "use":
            assert (keeper.use(key, "shared", now) is not None) == (key in keeper.held)
        elif step == "hold":
            keeper.hold(key, held(size, label="shared"), now)
        elif step == "outdated":
            keeper.outdated(key, now)
        else:
            keeper.let_go(key)
        sizes = [one.size_bytes for one in keeper.held.values()]
        assert keeper.size_bytes == sum(sizes) <= 80


def full(policy: RetentionPolicy) -> Keeper[str]:
    """A tier with one item that has just been used ten times."""
    keeper: Keeper[str] = Keeper(Budget(10, 10), policy)
    for second in range(10):
        keeper.use("held", "shared", 100.0 * second)
    keeper.hold("held", held(10, label="shared"), 900.0)
    return keeper


def test_SCHED_2_a_newcomer_must_be_worth_more_than_what_it_pushes_out() -> None:
    keeper = full(CostBased())
    offered = held(10, label="shared")
    keeper.use("new", "shared", 901.0)
    assert not keeper.admits("new", offered, 901.0)
    for second in range(20):
        keeper.use("new", "shared", 950.0 + 100.0 * second)
    assert keeper.admits("new", offered, 2900.0)
    assert keeper.hold("new", offered, 2900.0) == ["held"]
    assert full(LeastRecentlyUsed()).admits("new", offered, 901.0), "LRU takes what comes"
    assert keeper.admits("pinned", held(10, pinned=True), 2900.0)


def test_SCHED_2_two_of_equal_worth_do_not_push_each_other_out() -> None:
    keeper: Keeper[str] = Keeper(Budget(10, 10), CostBased())
    changes = 0
    for turn in range(200):
        now = 60.0 * turn
        name = "ab"[turn % 2]
        if keeper.use(name, "shared", now) is None:
            offered = held(10, label="shared")
            if keeper.admits(name, offered, now):
                keeper.hold(name, offered, now)
                changes += 1
    assert changes <= 3, "built once, and not to and fro"


def test_SCHED_2_versions_of_one_thing_are_counted_together() -> None:
    keeper: Keeper[tuple[str, int]] = Keeper(Budget(10, 10), CostBased(), lambda key: key[0])
    keeper.use(("a", 1), "shared", 0.0)
    keeper.hold(("a", 1), held(10), 0.0)
    keeper.outdated(("a", 1), 5.0)
    assert keeper.use(("a", 2), "shared", 10.0) is None
    keeper.hold(("a", 2), held(10), 10.0)
    one = keeper.held["a", 2]
    assert one.heat(10.0) == pytest.approx(2.0, rel=0.01)
    assert one.changes.heat(10.0) == pytest.approx(1.0, rel=0.01)


def test_SCHED_2_bursts_are_told_from_steady_use() -> None:
    rates = UseRates()
    for number in range(50):
        # A conversation: five turns in two minutes, and never again.
        burst = Uses()
        for turn in range(5):
            rates.use(number, "conversation", burst, 400.0 * number + 30.0 * turn)
    steady = Uses()
    for turn in range(60):
        rates.use("steady", "shared", steady, 340.0 * turn)
    end = 400.0 * 49 + 120.0
    over = Uses(burst.counts, burst.at, burst.at)
    assert rates.rate("conversation", burst, end + 10.0) > rates.rate("shared", steady, end + 10.0)
    later = end + 1200.0
    steady.add(later - 100.0)
    assert rates.rate("conversation", over, later) < rates.rate("shared", steady, later) / 5


def test_SCHED_2_a_refusal_is_judged_by_what_is_wanted_first() -> None:
    trials = Trials()
    assert trials.proved, "nothing speaks against it"
    trials.begin({"new": 5.0}, {"old": 3.0, "older": 3.0})
    trials.use("older")
    assert trials.proved
    trials.use("new")
    assert not trials.proved, "five seconds were lost, and three saved"
    trials.begin({"other": 1.0}, {"old": 3.0})
    trials.use("old")
    assert trials.proved
    trials.use("other")
    assert trials.proved, "it was decided already"


def test_SCHED_2_newcomers_come_in_where_refusals_have_proved_wrong() -> None:
    keeper: Keeper[str] = Keeper(Budget(10, 10), CostBased())
    for at in range(20):
        keeper.use("old", "", at * 60.0)
    keeper.hold("old", Holding("t", 10, 1.0), 1200.0)
    refused = 0
    # What was wanted often is not any more: habits have gone on.
    for at in range(30):
        now, name = 1260.0 + at * 60.0, f"new-{at // 3}"
        keeper.use(name, "", now)
        if keeper.admits(name, Holding("t", 10, 1.0), now):
            keeper.hold(name, Holding("t", 10, 1.0), now)
        else:
            refused += 1
    assert 0 < refused < 10
    assert "old" not in keeper


def test_SCHED_2_what_decides_is_told_in_words() -> None:
    keeper: Keeper[str] = Keeper(Budget(10, 10), CostBased())
    assert keeper.why("a", "", 0.0) is None
    keeper.use("a", "", 0.0)
    keeper.hold("a", Holding("t", 10, 2.0), 0.0)
    assert keeper.why("a", "", 60.0) == "0.4 uses an hour are expected; each saves 2 s"
    keeper.outdated("a", 60.0)
    told = keeper.why("a", "", 60.0)
    assert told is not None and "of them before a change" in told
