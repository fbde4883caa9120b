"""READ-3: what extraction may cost a tenant in an hour, over all who spend it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.actors.extraction.allowances import Allowances
from memos_ray.actors.extraction.purse import Purse
from memos_ray.core.extraction import Allowance, Budget, Spent, allow, give_back
from memos_ray.core.vault.log import ControlChange
from memos_ray.errors import MemosError, StoreCorruptError, UnavailableError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.cubes import START

HOUR = timedelta(hours=1)
TENANT = "acme"


def allowed(
    spent: Spent | None, budget: Budget, tokens: int, at: datetime = START
) -> tuple[Spent, Allowance]:
    found = allow(spent, budget, tokens, at)
    assert not isinstance(found, datetime)
    return found


def test_READ_3_what_was_spent_survives_its_row() -> None:
    spent = Spent(START, 5, 2)
    assert Spent.from_bytes(spent.to_bytes()) == spent
    for body in (b"", b"[]", b'{"a": 1}', b'["x", 1, 2]'):
        with pytest.raises(StoreCorruptError):
            Spent.from_bytes(body)


def test_READ_3_a_part_is_an_eighth_of_what_is_left_and_takes_a_request() -> None:
    budget = Budget(tokens=800, requests=16)
    spent, part = allowed(None, budget, 10)
    assert part == Allowance(START + HOUR, 100, 2) and spent == Spent(START, 100, 2)
    more, large = allowed(spent, budget, 300, START + HOUR / 2)
    assert large == Allowance(START + HOUR, 300, 1) and more == Spent(START, 400, 3)
    assert allow(more, budget, 401, START) == START + HOUR
    assert allow(Spent(START, 0, 16), budget, 1, START) == START + HOUR
    later, _ = allowed(more, budget, 10, START + HOUR)
    assert later == Spent(START + HOUR, 100, 2)


def test_READ_3_a_request_beyond_the_budget_has_an_hour_for_itself() -> None:
    budget = Budget(tokens=100)
    spent, part = allowed(None, budget, 1000)
    assert part.tokens == 1000
    assert allow(spent, budget, 1, START) == START + HOUR


def test_READ_3_what_is_given_back_is_there_for_others_in_its_hour() -> None:
    budget = Budget(tokens=800, requests=8)
    spent, part = allowed(None, budget, 10)
    assert give_back(spent, part.plus(-10, -1)) == Spent(START, 10, 1)
    assert give_back(Spent(START + HOUR, 5, 1), part) == Spent(START + HOUR, 5, 1)
    # What has cost more than it might takes nothing off.
    assert give_back(spent, part.plus(-999, 0)) == Spent(START, 100, 0)


@dataclass
class Bench:
    """Several shards that spend one budget."""

    clock: ManualClock
    store: MemoryControlStore
    allowances: Allowances
    purses: list[Purse]
    counters: Counter[str]


def bench(budget: Budget, shards: int = 3) -> Bench:
    clock, store = ManualClock(), MemoryControlStore()
    allowances, counters = Allowances(store, clock, budget), Counter[str]()
    purses = [Purse(allowances, clock.now, counters) for _ in range(shards)]
    return Bench(clock, store, allowances, purses, counters)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 40), st.integers(0, 40), st.booleans()),
        max_size=60,
    )
)
async def test_READ_3_all_shards_together_never_exceed_the_budget(
    steps: list[tuple[int, int, int, bool]],
) -> None:
    budget = Budget(tokens=200, requests=12)
    made = bench(budget)
    tokens = requests = 0
    for shard, estimated, cost, idle in steps:
        purse = made.purses[shard]
        if await purse.take(TENANT, estimated) is None:
            used = min(cost, estimated)
            purse.settle(TENANT, estimated - used, made.clock.now())
            tokens, requests = tokens + used, requests + 1
        if idle:
            await purse.leave(TENANT)
    assert tokens <= 200 and requests <= 12


async def test_READ_3_a_request_asks_the_accounts_only_now_and_then() -> None:
    made = bench(Budget(tokens=1_000_000), shards=2)
    for number in range(300):
        assert await made.purses[number % 2].take(TENANT, 1_000) is None
    assert made.counters["extraction_allowances"] <= 10


async def test_READ_3_a_spent_budget_is_back_in_the_next_hour() -> None:
    made = bench(Budget(requests=2), shards=2)
    first, second = made.purses
    assert [await first.take(TENANT, 1), await second.take(TENANT, 1)] == [None, None]
    assert await first.take(TENANT, 1) == made.clock.now() + HOUR
    assert await second.take("other", 1) is None, "of another tenant"
    made.clock.advance(3600)
    assert await first.take(TENANT, 1) is None


async def test_READ_3_what_was_taken_in_an_hour_that_is_over_stays_spent() -> None:
    made = bench(Budget(tokens=80), shards=1)
    (purse,) = made.purses
    taken_at = made.clock.now()
    assert await purse.take(TENANT, 80) is None
    made.clock.advance(3600)
    assert await purse.take(TENANT, 80) is None
    purse.settle(TENANT, 80, taken_at)
    assert await purse.take(TENANT, 80) == made.clock.now() + HOUR


@dataclass
class Away:
    """Accounts that nobody keeps. Implements `ports.AllowancePort`."""

    asked: int = 0

    async def allow(self, tenant: str, tokens: int) -> Allowance | datetime:
        """Nobody answers."""
        self.asked += 1
        raise UnavailableError("the actor is away")

    async def give_back(self, tenant: str, left: Allowance) -> None:
        """Nobody answers."""
        raise UnavailableError("the actor is away")


async def test_READ_3_nothing_is_spent_while_nobody_keeps_the_accounts() -> None:
    clock, counters = ManualClock(), Counter[str]()
    purse = Purse(Away(), clock.now, counters)
    until = await purse.take(TENANT, 1)
    assert until is not None and clock.now() < until < clock.now() + HOUR
    assert counters["extraction_allowances_failed"] == 1


async def test_READ_3_accounts_outlive_their_keeper_and_a_damaged_one_allows_nothing() -> None:
    budget = Budget(requests=1)
    made = bench(budget)
    assert isinstance(await made.allowances.allow(TENANT, 1), Allowance)
    again = Allowances(made.store, made.clock, budget)
    assert await again.allow(TENANT, 1) == made.clock.now() + HOUR
    (record,) = made.store.load("/extraction")
    change = ControlChange("/extraction", record.kind, record.key, b"walrus", record.revision)
    made.store.commit([change], [])
    made.clock.advance(7200)
    assert await again.allow(TENANT, 1) == made.clock.now() + HOUR
    made.clock.advance(3600)
    assert isinstance(await again.allow(TENANT, 1), Allowance)


async def test_READ_3_of_two_keepers_one_is_refused() -> None:
    made = bench(Budget(requests=8))
    await made.allowances.allow(TENANT, 1)
    read = made.store.get

    def overtaken(tenant: str, kind: str, key: str) -> object:
        found = read(tenant, kind, key)
        assert found is not None
        newer = Spent(made.clock.now(), 0, 8).to_bytes()
        made.store.commit([ControlChange(tenant, kind, key, newer, found.revision)], [])
        return found

    made.store.get = overtaken  # type: ignore[method-assign, assignment]
    with pytest.raises(MemosError):
        await made.allowances.allow(TENANT, 1)
