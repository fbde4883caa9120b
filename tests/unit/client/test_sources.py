"""Trusted sources through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos_ray import AsyncMemOS, InvalidInputError, NotFoundError
from memos_ray.core.organising import Proposed
from tests.unit.reader.test_documents import pdf

AT = datetime(2026, 1, 1, tzinfo=UTC)
GUIDELINE = "\n\n".join(
    f"## Ward {n}\nWard {n} is cleaned {n + 1} times a week by the morning crew." for n in range(40)
)


async def test_APP_3_a_file_is_added_reviewed_and_decided(
    memos: AsyncMemOS, tmp_path: Path
) -> None:
    file = tmp_path / "guideline.md"
    file.write_text(GUIDELINE)
    held = await memos.add("The garden hose is 20 metres long.")
    other = await memos.add("The garden shed is 3 metres wide.")
    leaflet = tmp_path / "leaflet.txt"
    leaflet.write_text("The garden hose is 25 metres long. The hose hangs 4 metres from the shed.")
    board: dict[str, Any] = {"issuer": "The Board", "valid_from": AT}
    added = await memos.sources.add(file, name="Cleaning", **board)
    assert (added.sections, added.compared) == (40, 40)
    small = await memos.sources.add(leaflet, name="Hoses", trust=60, **board)
    assert {one.id for one in (await memos.sources.list()).sources} == {added.id, small.id}
    assert (await memos.sources.review(added.id)).findings == []
    found = (await memos.sources.review()).findings
    assert [one.held for one in found] == [held.id]
    report = await memos.sources.accept(source=small.id)
    assert [one.finding and one.finding.state for one in report.results] == [Proposed.ACCEPTED]
    assert (await memos.get(held.id or "")).valid_to is not None
    assert (await memos.get(other.id or "")).valid_to is None
    assert [one.id for one in (await memos.sources.review(decided=True)).findings] == [found[0].id]
    late = await memos.sources.refuse([found[0].id])
    assert late.results[0].error and late.results[0].error.code == "illegal_state"


async def test_APP_3_a_pdf_file_is_added(memos: AsyncMemOS, tmp_path: Path) -> None:
    held = await memos.add("The garden hose is 20 metres long.")
    file = tmp_path / "Leaflet.PDF"
    file.write_bytes(pdf("The garden hose is 25 metres long.", None))
    added = await memos.sources.add(file, name="Hoses", issuer="The Board", valid_from=AT)
    assert (added.sections, added.pages_without_text) == (1, [2])
    found = (await memos.sources.review()).findings
    assert [one.held for one in found] == [held.id]


async def test_APP_3_what_cannot_be_asked_is_refused(memos: AsyncMemOS, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        await memos.sources.add(tmp_path / "no.md", name="x", issuer="y", valid_from=AT)
    with pytest.raises(NotFoundError):
        await memos.sources.review("nothing")
    with pytest.raises(InvalidInputError):
        await memos.sources.accept(["x"], source="y")
    with pytest.raises(InvalidInputError):
        await memos.sources.add("a", name="x", issuer="y", valid_from=AT, trust=101)
