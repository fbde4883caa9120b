"""OPER-2, GOV-9: proposals go with either of their memories, and no others are looked at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from memos_ray.actors.organising import book as books
from memos_ray.actors.organising.book import OrganisingBook
from memos_ray.actors.vault.residency import Place
from memos_ray.core.organising import Kind, Proposal
from memos_ray.core.vault.log import CubeKey
from memos_ray.testing.record_store import MemoryRecordStore

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Place(0, "acme", "notes")


def proposal(number: int) -> Proposal:
    about = (f"m{number}", f"m{number + 1}")
    return Proposal(f"p{number}", "acme", "notes", Kind.DUPLICATE, *about, 0.9, AT)


async def test_OPER_2_GOV_9_an_erasure_looks_at_no_proposals_about_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, looks = MemoryRecordStore(), list[str]()
    store.take(0, "one", 1)
    with ThreadPoolExecutor(1) as executor:
        first, second = OrganisingBook(store, executor), OrganisingBook(store, executor)
        first.open(0, 1)
        for number in range(40):
            assert await first.add(PLACE, proposal(number))
        second.open(0, 1)
        assert len(await second.of(PLACE)) == 40

        def key(tenant: str, id: str) -> CubeKey:
            looks.append(id)
            return CubeKey(tenant, id)

        monkeypatch.setattr(books, "CubeKey", key)
        for book in (first, second):
            await book.forget(0, [CubeKey("acme", "m7"), CubeKey("other", "m20")])
            assert {one.id for one in await book.of(PLACE)} == {
                f"p{n}" for n in range(40) if n not in (6, 7)
            }
        assert len(looks) < 10
        # What it was about besides is known no longer.
        await first.add(PLACE, proposal(6))
        await first.forget(0, [CubeKey("acme", "m8")])
        assert await first.get(PLACE, "p6") is not None
        assert await first.get(PLACE, "p8") is None
