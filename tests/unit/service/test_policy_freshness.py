"""A change of policy holds for the very next call, however long its news take to travel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from memos_ray.actors.policy.governance import MemGovernance
from memos_ray.core.access.administration import (
    CreateTenant,
    GiveGrant,
    IssueKey,
    PutPrincipal,
    RevokeGrant,
    RevokeKey,
)
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import PrincipalRecord
from memos_ray.errors import NotFoundError, UnauthenticatedError
from memos_ray.gateway.memories.models import NewMemory, Sharing
from memos_ray.testing.in_process import InProcess, in_process


@pytest.fixture
async def memos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    async def no_news(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(MemGovernance, "wait_for_newer", no_news)
    async with in_process(tmp_path) as running:
        # Everybody holds a policy from before the changes.
        await running.service.add(running.administrator, [NewMemory(text="old")])
        yield running


async def test_a_new_key_works_at_once_and_a_revoked_one_no_more(memos: InProcess) -> None:
    me = memos.administrator
    await memos.admin.change(me, PutPrincipal(PrincipalRecord("user:ann")))
    issued = await memos.admin.change(me, IssueKey("user:ann"))
    ann = replace(me, credential=issued.secret or "")
    report = await memos.service.add(ann, [NewMemory(text="mine")])
    assert not report.failed
    await memos.admin.change(me, RevokeKey(issued.id))
    with pytest.raises(UnauthenticatedError):
        await memos.service.list(ann)


async def test_a_new_namespace_takes_memories_at_once(memos: InProcess) -> None:
    place = await memos.namespace("user:admin/new")
    report = await memos.service.add(memos.administrator, [NewMemory(text="first")], place)
    assert not report.failed


async def test_a_grant_opens_and_closes_at_once(memos: InProcess) -> None:
    me, place = memos.administrator, await memos.namespace("user:admin/open")
    report = await memos.service.add(me, [NewMemory(text="for all", visibility="shared")], place)
    memory_id = report.results[0].id or ""
    ann = await memos.caller("user:ann")
    with pytest.raises(NotFoundError):
        await memos.service.get(ann, memory_id)
    given = await memos.admin.change(me, GiveGrant("user:ann", (Action.READ,), place))
    assert (await memos.service.get(ann, memory_id)).text == "for all"
    await memos.admin.change(me, RevokeGrant(given.id))
    with pytest.raises(NotFoundError):
        await memos.service.get(ann, memory_id)


async def test_a_new_tenant_works_at_once(memos: InProcess) -> None:
    made = await memos.admin.change(memos.administrator, CreateTenant("other"))
    other = replace(memos.administrator, credential=made.secret or "")
    report = await memos.service.add(other, [NewMemory(text="hello")])
    assert not report.failed
    await memos.service.share(other, report.results[0].id or "", Sharing(readers=["role:admin"]))
