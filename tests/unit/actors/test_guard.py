"""PolicyGuard: how fresh its policies are, and how often it asks for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.core.access.administration import PutPrincipal
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.model import PrincipalRecord
from memos_ray.core.access.snapshot import SignedLease, SignedSnapshot
from memos_ray.errors import PolicyUnavailableError
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.control_store import MemoryControlStore
from memos_ray.testing.waiting import eventually

ADMIN = CallContext(Principal("acme", "user:admin", ("admin",)))


class Silent(MemGovernance):
    """An authority that tells nobody of its news.

    While `open` is not set it holds back what it has read; `reading` says that it has.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(MemoryControlStore(), clock, os.urandom, Ed25519PrivateKey.generate())
        self.asked = 0
        self.reading = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def snapshot(self, tenant: str) -> SignedSnapshot:
        self.asked += 1
        found = await super().snapshot(tenant)
        self.reading.set()
        await self.open.wait()
        return found

    async def wait_for_newer(
        self, tenant: str, version: int, timeout_s: float
    ) -> SignedSnapshot | SignedLease:
        await asyncio.Event().wait()
        raise AssertionError


@dataclass
class Parts:
    authority: Silent
    guard: PolicyGuard
    names: list[str] = field(default_factory=list)

    async def change(self) -> int:
        self.names.append(f"user:p{len(self.names)}")
        done = await self.authority.change(ADMIN, PutPrincipal(PrincipalRecord(self.names[-1])))
        return done.version


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    authority = Silent(ManualClock())
    await authority.bootstrap("acme")
    guard = PolicyGuard(authority.public_key(), authority, ManualClock())
    yield Parts(authority, guard)
    await guard.close()


async def test_it_asks_again_for_a_version_that_it_does_not_hold(parts: Parts) -> None:
    old = (await parts.guard.ensure("acme")).version
    new = await parts.change()
    assert (await parts.guard.ensure("acme")).version == old
    assert (await parts.guard.ensure("acme", new)).version == new
    asked = parts.authority.asked
    assert (await parts.guard.ensure("acme", old)).version == new
    assert parts.authority.asked == asked


async def test_a_version_that_does_not_exist_is_not_waited_for(parts: Parts) -> None:
    held = (await parts.guard.ensure("acme")).version
    with pytest.raises(PolicyUnavailableError):
        await parts.guard.ensure("acme", held + 1000)
    assert (await parts.guard.ensure("acme")).version == held


async def test_many_who_want_it_share_one_question(parts: Parts) -> None:
    await asyncio.gather(*(parts.guard.ensure("acme") for _ in range(50)))
    assert parts.authority.asked == 1


async def test_a_fetch_that_began_before_the_change_is_not_enough(parts: Parts) -> None:
    parts.authority.open.clear()
    early = asyncio.create_task(parts.guard.ensure("acme"))
    await parts.authority.reading.wait()
    new = await parts.change()
    late = asyncio.create_task(parts.guard.ensure("acme", new))
    await asyncio.sleep(0)
    parts.authority.open.set()
    assert (await early).version < new
    assert (await late).version == new


async def test_giving_up_the_wait_does_not_end_it_for_others(parts: Parts) -> None:
    parts.authority.open.clear()
    impatient = asyncio.create_task(parts.guard.ensure("acme"))
    patient = asyncio.create_task(parts.guard.ensure("acme"))
    await parts.authority.reading.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    parts.authority.open.set()
    assert (await patient).tenant == "acme"


async def test_refresh_never_joins_what_began_earlier(parts: Parts) -> None:
    parts.authority.open.clear()
    early = asyncio.create_task(parts.guard.ensure("acme"))
    await parts.authority.reading.wait()
    new = await parts.change()
    refresh = asyncio.create_task(parts.guard.refresh("acme"))
    parts.authority.open.set()
    await asyncio.gather(early, refresh)
    assert (await parts.guard.ensure("acme")).version == new


class Told(Silent):
    """An authority that answers a poll when it is told to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.polls = 0
        self.answer = asyncio.Event()

    async def wait_for_newer(
        self, tenant: str, version: int, timeout_s: float
    ) -> SignedSnapshot | SignedLease:
        self.polls += 1
        await self.answer.wait()
        self.answer.clear()
        return await MemGovernance.wait_for_newer(self, tenant, version, 0.0)


async def test_a_tenant_that_nobody_asks_for_any_more_costs_the_authority_nothing() -> None:
    clock = ManualClock()
    authority = Told(clock)
    await authority.bootstrap("acme")
    guard = PolicyGuard(authority.public_key(), authority, clock)
    try:
        await guard.ensure("acme")
        await eventually(lambda: authority.polls == 1)
        authority.answer.set()
        await eventually(lambda: authority.polls == 2)
        clock.advance(3600.0)
        authority.answer.set()
        await eventually(lambda: not authority.answer.is_set())
        asked = authority.asked
        # It is out of lease, and asked for once; from then on there is a poll again.
        await guard.ensure("acme")
        assert authority.asked == asked + 1
        await eventually(lambda: authority.polls == 3)
    finally:
        await guard.close()
