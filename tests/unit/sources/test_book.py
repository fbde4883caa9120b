"""APP-3: findings go with the memories that they are about, and no others are looked at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from memos_ray.actors.sources import book as books
from memos_ray.actors.sources.book import SourceBook
from memos_ray.actors.vault.residency import Place
from memos_ray.core.sources import Finding, Kind
from memos_ray.core.vault.log import CubeKey
from memos_ray.testing.record_store import MemoryRecordStore

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Place(0, "acme", "notes")


def finding(number: int) -> Finding:
    who = (f"f{number}", "acme", "notes", "s", f"held{number}", f"new{number}")
    return Finding(*who, Kind.CONTRADICTED, 0.9, outranked=False, found_at=AT)


async def test_APP_3_an_erasure_looks_at_no_findings_about_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, looks = MemoryRecordStore(), list[str]()
    store.take(0, "one", 1)
    with ThreadPoolExecutor(1) as executor:
        first = SourceBook(store, executor)
        for number in range(40):
            assert await first.add(PLACE, 1, finding(number))
        # What another owner has found is known as well.
        for book in (first, SourceBook(store, executor)):
            found = {one.id for one in await book.findings(PLACE, 1)}

            def key(tenant: str, id: str) -> CubeKey:
                looks.append(id)
                return CubeKey(tenant, id)

            monkeypatch.setattr(books, "CubeKey", key)
            gone = len(found) - 1
            held, new = CubeKey("acme", f"held{gone}"), CubeKey("acme", f"new{gone - 1}")
            await book.forget_about(0, 1, [held, new, CubeKey("other", "held0")])
            monkeypatch.undo()
            left = {one.id for one in await book.findings(PLACE, 1)}
            assert found - left == {f"f{gone}", f"f{gone - 1}"}
        assert len(looks) < 10
        assert len(await SourceBook(store, executor).findings(PLACE, 1)) == 36
