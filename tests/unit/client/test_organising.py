"""Order among memories through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from memos_ray import AsyncMemOS, IllegalStateError, NotFoundError
from memos_ray.core.organising import Kind, Proposed
from memos_ray.gateway.organising.models import OrganisingList


async def proposals(memos: AsyncMemOS) -> OrganisingList:
    async with asyncio.timeout(60):
        while True:
            found = await memos.organise.list()
            if found.lag == 0:
                return found
            await asyncio.sleep(0.01)


async def test_OPER_4_proposals_are_accepted_and_refused(memos: AsyncMemOS) -> None:
    for text in ("Ann lives in Oslo.", "Ann moved to Berlin.", "My boss is Tom."):
        await memos.add(text)
    await memos.add("My boss is Eva now.")
    listed = await proposals(memos)
    assert not listed.automatic
    by_reason = {one.reasons[0].partition(" of ")[0]: one for one in listed.proposals}
    assert set(by_reason) == {"residence", "boss"}
    home, boss = by_reason["residence"], by_reason["boss"]
    assert (home.kind, home.older_text, home.newer_text) == (
        Kind.SUPERSESSION,
        "Ann lives in Oslo.",
        "Ann moved to Berlin.",
    )
    assert (await memos.organise.accept(home.id)).state is Proposed.ACCEPTED
    assert (await memos.organise.refuse(boss.id)).state is Proposed.REFUSED
    assert (await proposals(memos)).proposals == []
    assert (await memos.get(home.older)).valid_to is not None
    assert (await memos.get(boss.older)).valid_to is None
    with pytest.raises(IllegalStateError):
        await memos.organise.accept(boss.id)
    with pytest.raises(NotFoundError):
        await memos.organise.accept("absent")


async def test_OPER_4_what_is_sure_is_done_at_once(memos: AsyncMemOS) -> None:
    assert (await memos.organise.automate()).automatic
    old = await memos.add("Ann lives in Oslo.")
    await memos.add("Ann moved to Berlin.")
    assert (await proposals(memos)).proposals == []
    assert (await memos.get(old.id or "")).valid_to is not None
    assert not (await memos.organise.automate(False)).automatic
