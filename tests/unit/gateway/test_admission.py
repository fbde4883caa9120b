"""SCHED-5: who is let in, where tenants share a gateway."""

from __future__ import annotations

import asyncio

import pytest

from memos_ray.actors.turns import FairGate
from memos_ray.config import LimitSettings
from memos_ray.core.scheduling.fairness import Priority
from memos_ray.errors import OverloadedError
from memos_ray.gateway.admission import CallRates
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.waiting import eventually


async def test_SCHED_5_a_backlog_of_one_tenant_is_passed_by_another() -> None:
    gate = FairGate(4)
    order: list[str] = []
    release = asyncio.Event()

    async def call(tenant: str) -> None:
        async with gate.turn(tenant):
            order.append(tenant)
            await release.wait()

    noisy = [asyncio.create_task(call("noisy")) for _ in range(50)]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(call("quiet"))
    await eventually(lambda: len(order) == 4)
    assert order == ["noisy"] * 3 + ["quiet"], "one place is never the noisy one's"
    release.set()
    await asyncio.gather(quiet, *noisy)
    assert order.count("noisy") == 50


async def test_SCHED_5_background_work_waits_for_what_somebody_waits_for() -> None:
    gate = FairGate(1)
    order: list[str] = []
    held = asyncio.Event()

    async def call(name: str, priority: Priority = Priority.FOREGROUND) -> None:
        async with gate.turn("acme", priority):
            order.append(name)
            await held.wait()

    calls = [asyncio.create_task(call("first"))]
    await asyncio.sleep(0)
    calls += [asyncio.create_task(call(f"sweep {n}", Priority.BACKGROUND)) for n in range(2)]
    await asyncio.sleep(0)
    # Of the same tenant: its own background work must not stand before it either.
    calls += [asyncio.create_task(call(f"search {n}")) for n in range(10)]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(*calls)
    assert order[:7] == ["first", *(f"search {n}" for n in range(6))]
    assert order.index("sweep 0") < order.index("search 9"), "it does not starve"
    assert gate.counters == {
        "turns_foreground": 11,
        "turns_background": 2,
        "turns_waited": 12,
    }


async def test_SCHED_5_who_gives_up_while_waiting_leaves_no_place_taken() -> None:
    gate = FairGate(1)
    held = asyncio.Event()

    async def hold() -> None:
        async with gate.turn("acme"):
            await held.wait()

    async def call() -> None:
        async with gate.turn("acme"):
            pass

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(call())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.set()
    await holding
    await asyncio.wait_for(call(), 60)


async def test_SCHED_5_too_many_that_wait_are_refused() -> None:
    gate = FairGate(1)
    held = asyncio.Event()

    async def call(tenant: str = "acme") -> None:
        async with gate.turn(tenant):
            await held.wait()

    calls = [asyncio.create_task(call()) for _ in range(1025)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await call()
    other = asyncio.create_task(call("zoo"))
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(other, *calls)


def test_SCHED_5_a_rate_is_refused_with_when_to_come_back() -> None:
    clock = ManualClock()
    rates = CallRates(LimitSettings(tenant_calls_per_s=0.5, tenant_burst=2), clock)
    rates.check("acme")
    rates.check("acme")
    with pytest.raises(OverloadedError) as refused:
        rates.check("acme")
    assert refused.value.http_status == 429
    assert refused.value.details["retry_after_s"] == 2
    rates.check("zoo")
    clock.advance(2.0)
    rates.check("acme")


def test_SCHED_5_without_a_limit_nothing_is_refused() -> None:
    rates = CallRates(LimitSettings(), ManualClock())
    for _ in range(1000):
        rates.check("acme")
