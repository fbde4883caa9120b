"""SCHED-5: nobody starves, shares are kept, background work yields, rates are bounded."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.scheduling.fairness import (
    FairQueue,
    FairTurns,
    Priority,
    RateLimits,
    TokenBucket,
)

TENANTS = ["acme", "zoo", "lab"]


@given(
    weights=st.fixed_dictionaries({name: st.sampled_from([1.0, 2.0, 4.0]) for name in TENANTS}),
    costs=st.lists(st.floats(0.1, 5.0), min_size=60, max_size=60),
    turns=st.integers(1, 40),
)
def test_SCHED_5_shares_of_those_who_wait_differ_by_one_request_at_most(
    weights: dict[str, float], costs: list[float], turns: int
) -> None:
    queue: FairQueue[float] = FairQueue(weights)
    for number, cost in enumerate(costs):
        queue.push(TENANTS[number % 3], cost, cost)
    left = Counter({name: 20 for name in TENANTS})
    got = dict.fromkeys(TENANTS, 0.0)
    for _ in range(turns):
        tenant, cost = queue.pop()
        got[tenant] += cost / weights[tenant]
        left[tenant] -= 1
        if not all(left.values()):
            return
        for one in TENANTS:
            for other in TENANTS:
                most = 5.0 / weights[one] + 5.0 / weights[other]
                assert abs(got[one] - got[other]) <= most + 1e-9


@given(
    st.lists(
        st.tuples(st.sampled_from(TENANTS), st.sampled_from(list(Priority)), st.floats(0.1, 9.0)),
        max_size=60,
    )
)
def test_SCHED_5_nothing_is_lost_and_each_tenant_keeps_its_order(
    pushed: list[tuple[str, Priority, float]],
) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, (tenant, priority, cost) in enumerate(pushed):
        queue.push(tenant, number, cost, priority)
    popped = [queue.pop() for _ in range(len(queue))]
    assert sorted(number for _, number in popped) == list(range(len(pushed)))
    for tenant in TENANTS:
        for priority in Priority:
            mine = [n for whose, n in popped if whose == tenant and pushed[n][1] is priority]
            assert mine == sorted(mine)
    with pytest.raises(IndexError):
        queue.pop()


@given(
    backlog=st.integers(1, 500),
    arrivals=st.lists(st.sampled_from(["acme", "zoo"]), max_size=30),
)
def test_SCHED_5_nobody_starves_behind_a_backlog(backlog: int, arrivals: list[str]) -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(backlog):
        queue.push("lab", "old")
    queue.pop()
    for name in arrivals:
        queue.push(name, "new")
    queue.push("late", "mine")
    turns = next(turn for turn in range(backlog + 40) if queue.pop()[1] == "mine")
    assert turns <= 4, "behind one of each tenant, and no more"


def test_SCHED_5_background_work_yields_and_does_not_starve() -> None:
    queue: FairQueue[int] = FairQueue(background_turn=8)
    for number in range(80):
        queue.push("acme", number)
        queue.push("acme", 1000 + number, priority=Priority.BACKGROUND)
    first = [queue.pop()[1] for _ in range(80)]
    background = sum(number >= 1000 for number in first)
    assert background == 10
    assert first[:7] == list(range(7))


@given(
    rate=st.floats(0.5, 50),
    burst=st.floats(1, 20),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=80),
)
def test_SCHED_5_a_bucket_lets_no_more_through_than_burst_and_rate(
    rate: float, burst: float, pauses: list[float]
) -> None:
    bucket = TokenBucket(rate, burst)
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause
        wait_s = bucket.take(now)
        if wait_s == 0:
            passed += 1
        else:
            assert bucket.take(now + wait_s + 1e-6) == 0, "it passes when it was told to come"
            now += wait_s + 1e-6
            passed += 1
        assert passed <= burst + rate * now + 1e-3


def test_SCHED_5_rates_are_each_tenants_own() -> None:
    limits = RateLimits(rate=2.0, burst=3.0)
    assert [limits.take("acme", 0.0) for _ in range(4)] == [0, 0, 0, 1]
    assert limits.take("zoo", 0.0) == 0
    assert limits.take("acme", 1.0) == 0


@given(
    steps=st.lists(st.tuples(st.sampled_from(TENANTS), st.booleans()), max_size=80),
    places=st.integers(1, 6),
)
def test_SCHED_5_turns_are_bounded_and_none_is_held_back_without_need(
    steps: list[tuple[str, bool]], places: int
) -> None:
    turns: FairTurns[tuple[str, int]] = FairTurns(places)
    most = max(1, places * 3 // 4)
    busy: Counter[str] = Counter()
    arrived: Counter[str] = Counter()
    begun: list[tuple[str, int]] = []

    def note(started: list[tuple[str, int]]) -> None:
        begun.extend(started)
        busy.update(tenant for tenant, _ in started)

    for number, (tenant, arrives) in enumerate(steps):
        if arrives:
            arrived[tenant] += 1
            note(turns.arrive(tenant, (tenant, number)))
        elif busy[tenant]:
            busy[tenant] -= 1
            note(turns.leave(tenant))
        assert sum(busy.values()) <= places
        assert all(count <= most for count in busy.values())
        for one in TENANTS:
            free = sum(busy.values()) < places and busy[one] < most
            assert not (free and turns.waiting(one)), "there was a place for it"
    while busy.total():
        tenant = next(one for one in TENANTS if busy[one])
        busy[tenant] -= 1
        note(turns.leave(tenant))
    assert len(begun) == arrived.total()


def latencies(
    arrivals: list[tuple[float, str]],
    places: int,
    service_s: Callable[[], float],
    turns: FairTurns[tuple[str, float]],
) -> dict[str, list[float]]:
    """Simulates servers whose requests come at given times; returns how long each took."""
    events: list[tuple[float, int, str, float]] = []
    found: dict[str, list[float]] = {}
    number = 0
    coming = sorted(arrivals)

    def begin(now: float, started: list[tuple[str, float]]) -> None:
        nonlocal number
        for tenant, since in started:
            number += 1
            heapq.heappush(events, (now + service_s(), number, tenant, since))

    while coming or events:
        if coming and (not events or coming[0][0] <= events[0][0]):
            now, tenant = coming.pop(0)
            begin(now, turns.arrive(tenant, (tenant, now)))
        else:
            now, _, tenant, since = heapq.heappop(events)
            found.setdefault(tenant, []).append(now - since)
            begin(now, turns.leave(tenant))
    return found


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * len(values))]


@pytest.mark.parametrize("seed", range(5))
def test_SCHED_5_a_noisy_tenant_at_ten_times_the_load_does_not_slow_another(seed: int) -> None:
    random = Random(seed)
    # Twice what eight places can do, from the noisy one alone.
    capacity = 8 / 0.010
    rate = 2 * capacity / 10

    def arrivals(tenant: str, rate: float, amount: int) -> list[tuple[float, str]]:
        now, made = 0.0, []
        for _ in range(amount):
            now += random.expovariate(rate)
            made.append((now, tenant))
        return made

    def service_s() -> float:
        return 0.005 + random.expovariate(1 / 0.005)

    quiet = arrivals("quiet", rate, 400)
    noisy = arrivals("noisy", 10 * rate, 4000)
    alone = latencies(quiet, 8, service_s, FairTurns(8))["quiet"]
    beside = latencies([*quiet, *noisy], 8, service_s, FairTurns(8))
    assert p95(beside["quiet"]) <= 1.5 * p95(alone)
    assert p95(beside["noisy"]) > 10 * p95(alone), "it waits behind itself"
