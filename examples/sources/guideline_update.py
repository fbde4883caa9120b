"""A clinic's guideline gets a new edition: what it contradicts is proposed to be closed.

    python examples/sources/guideline_update.py

Runs a whole cluster in this process tree, on a data folder that is removed at the end. The clinic
holds the edition of 2021, notes of its staff, and what has nothing to do with it. The edition of
2026 is added; its findings are read, one is refused, the others are accepted. Nothing is deleted.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from memos_ray import MemOS
from memos_ray.gateway.sources.models import FindingInfo, SourceInfo

_HERE = Path(__file__).parent
_CLINIC = "clinic"
_NOTES = (
    "Treatment begins at a blood pressure above 150/90 mmHg in older adults.",
    "An ACE inhibitor may be used in pregnancy.",
    "The canteen opens at 11:30 and closes at 14:00.",
)
_QUESTION = "target blood pressure for adults under 80"
console = Console(width=110)


def main() -> None:
    """Plays the update."""
    with (
        tempfile.TemporaryDirectory(prefix="memos-clinic-") as folder,
        MemOS(data=folder) as memos,
    ):
        memos.admin.create_namespace(_CLINIC, "expert")
        add_edition(memos, 2021)
        memos.add([{"text": text} for text in _NOTES], _CLINIC)
        before = datetime.now(UTC)
        console.rule("the question, by the edition of 2021")
        old = answer(memos)
        console.print(old)
        source = add_edition(memos, 2026)
        found = memos.sources.review(source.id, namespace=_CLINIC).findings
        show(found)
        decide(memos, source, found)
        check(memos, old, before)


def add_edition(memos: MemOS, year: int) -> SourceInfo:
    """Adds an edition of the guideline, which the board has issued."""
    added = memos.sources.add(
        _HERE / f"hypertension_{year}.md",
        name="Raised blood pressure",
        issuer="The Board",
        valid_from=datetime(year, 1, 1, tzinfo=UTC),
        trust=80,
        namespace=_CLINIC,
    )
    console.print(f"edition {year}: {added.sections} sections, {added.stage.value}")
    return added


def answer(memos: MemOS, **when: datetime) -> str:
    """Returns the best hit's text, without its heading."""
    hits = memos.search(_QUESTION, namespace=_CLINIC, filter="tags:source", limit=1, **when).hits
    return hits[0].memory.text.splitlines()[-1]


def show(found: list[FindingInfo]) -> None:
    """Prints what would be superseded, and why."""
    table = Table("kind", "sure", "held", "why", title="what the edition of 2026 would supersede")
    for one in found:
        held = one.held_text.splitlines()[-1]
        table.add_row(one.kind.value, f"{one.confidence:.2f}", held, "\n".join(one.reasons))
    console.print(table)


def decide(memos: MemOS, source: SourceInfo, found: list[FindingInfo]) -> None:
    """Refuses to give up bed rest, and accepts the rest at once."""
    (rest,) = [one for one in found if one.kind.value == "withdrawn"]
    memos.sources.refuse([rest.id], namespace=_CLINIC)
    report = memos.sources.accept(source=source.id, namespace=_CLINIC)
    assert all(one.error is None for one in report.results), report
    console.print(f"refused 1, accepted {len(report.results)} of {len(found)}")
    assert len(report.results) == len(found) - 1
    # Once more changes nothing: everything is decided.
    assert memos.sources.accept(source=source.id, namespace=_CLINIC).results == []


def check(memos: MemOS, old: str, before: datetime) -> None:
    """Verifies what holds now, and that what held before still answers."""
    console.rule("the question, by the edition of 2026")
    new = answer(memos)
    console.print(new)
    assert "below 140 mmHg" in old and "below 130 mmHg" in new
    assert answer(memos, as_of=before) == old
    texts = {memory.text for memory in memos.iterate(_CLINIC)}
    assert set(_NOTES) <= texts
    held = {hit.memory.text for hit in memos.search("", namespace=_CLINIC, limit=50).hits}
    assert held & set(_NOTES) == {_NOTES[2]}, held & set(_NOTES)
    assert any("stay in bed" in text for text in held)
    decided = memos.sources.review(namespace=_CLINIC, decided=True).findings
    assert {one.decided_by for one in decided} == {"user:admin"}
    console.rule("closed, not deleted: as_of still answers by the edition of 2021")


if __name__ == "__main__":
    main()
