"""How answers look to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.chat.models import ChatAnswer, Explanation
    from memos_ray.gateway.memories.bodies import IngestReport
from memos_ray.gateway.memories.models import (
    Memory,
    MemoryPage,
    SearchHit,
    SearchResult,
    WriteResult,
)
from memos_ray.gateway.memories.record_models import Diff, History, LogPage

_SHORT = 160
_MOST_ERRORS = 20
_STRONGEST = 4


def wrote(console: Console, result: WriteResult) -> None:
    """Shows the outcome of a write."""
    known = ", known already" if result.replayed else ""
    line(console, f"{result.id} version {result.version}{known}")


def memory(console: Console, found: Memory) -> None:
    """Shows a memory with everything that is set about it."""
    console.print(Text(found.text))
    table = Table.grid(padding=(0, 2))
    shown = found.model_dump(mode="json", exclude={"text", "usage"})
    for name, value in shown.items():
        if value not in (None, [], {}, False, 0):
            table.add_row(Text(name, style="dim"), Text(_plain(value)))
    uses = found.usage
    if uses.access_count:
        table.add_row(Text("read", style="dim"), f"{uses.access_count} times")
    console.print(table)


def memories(console: Console, page: MemoryPage) -> None:
    """Shows a page of memories."""
    table = Table("id", "v", "said or stored", "memory", "tags")
    for found in page.memories:
        table.add_row(*_row(found))
    console.print(table)
    if page.unreadable:
        line(console, f"put away, and cannot be read now: {', '.join(page.unreadable)}")
    more(console, page.cursor)


def hits(console: Console, result: SearchResult) -> None:
    """Shows what a search has found, with the strongest reasons when it was asked for them."""
    explained = any(hit.signals for hit in result.hits)
    table = Table("score", "id", "v", "said or stored", "memory", "tags")
    if explained:
        table.add_column("because")
    for hit in result.hits:
        row = [Text(f"{hit.score:.2f}"), *_row(hit.memory)]
        if explained:
            row.append(Text(_reasons(hit)))
        table.add_row(*row)
    console.print(table)
    if result.unembedded:
        line(console, f"{result.unembedded} memories are so new that only their words were matched")
    more(console, result.cursor)


def answer(console: Console, found: ChatAnswer) -> None:
    """Shows an answer, and which memories stood before the question."""
    console.print(Text(found.text.strip()))
    used = f"{len(found.memories)} memories used" if found.memories else "no memory used"
    stored = f", {len(found.stored)} stored" if found.stored else ""
    # By this id it is judged (`feedback`), and the log says what the model was given.
    line(console, f"({used}{stored}; answer {found.response})")
    if found.store_error:
        line(console, f"this turn was not remembered: {found.store_error}")
    if found.explanation is not None:
        _forms(console, found.explanation)


def _forms(console: Console, why: Explanation) -> None:
    for what, reason in (("adapter", why.adapter), ("KV caches", why.caches)):
        if reason is not None:
            line(console, f"no {what}: {reason}")
    rows(
        console,
        ("memory", "form", "why", "refused", "costs", "at hand"),
        [
            (
                one.id,
                one.form or "none",
                one.reason,
                ", ".join(f"{form}: {reason}" for form, reason in one.refused.items()),
                ", ".join(f"{form} {1e3 * cost:.2g} ms" for form, cost in one.costs_s.items()),
                "yes" if one.preloaded else "",
            )
            for one in why.memories
        ],
    )


def history(console: Console, found: History) -> None:
    """Shows the versions of a memory."""
    table = Table("version", "change", "by", "at", "reason")
    for version in found.versions:
        at = f"{version.created_at:%Y-%m-%d %H:%M:%S}"
        cells = (str(version.number), version.change, version.author, at, version.reason or "")
        table.add_row(*map(Text, cells))
    console.print(table)
    more(console, found.cursor)


def diff(console: Console, found: Diff) -> None:
    """Shows what differs between two versions."""
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for text in found.text.splitlines():
        console.print(Text(text, style=styles.get(text[:1], "")))
    for change in found.changes:
        line(console, f"{change.field}: {_plain(change.before)} → {_plain(change.after)}")


def log(console: Console, page: LogPage) -> None:
    """Shows a page of the audit log."""
    table = Table("at", "who", "operation", "outcome", "memory", "v")
    for entry in page.entries:
        version = str(entry.version) if entry.version else ""
        at = f"{entry.at:%Y-%m-%d %H:%M:%S}"
        cells = (at, entry.principal, entry.operation, entry.outcome, entry.memory_id or "")
        table.add_row(*map(Text, (*cells, version)))
    console.print(table)
    more(console, page.cursor)


def ingested(console: Console, report: IngestReport) -> None:
    """Shows what became of an input."""
    line(
        console,
        f"{report.total} items: {report.stored} stored, {report.replayed} known already,"
        f" {report.failed} refused",
    )
    if report.unkept_attachments:
        line(console, f"{report.unkept_attachments} attachments are noted, but were not kept")
    refused = [item for item in report.results if item.error is not None]
    for item in refused[:_MOST_ERRORS]:
        problem = item.error
        if problem is not None:
            line(console, f"item {item.position}: {problem.code}: {problem.detail}")
    if len(refused) > _MOST_ERRORS:
        line(console, f"… and {len(refused) - _MOST_ERRORS} more")


def rows(console: Console, headings: Sequence[str], found: Sequence[Sequence[object]]) -> None:
    """Shows a plain table."""
    table = Table(*headings)
    for cells in found:
        table.add_row(*(Text(_plain(cell)) for cell in cells))
    console.print(table)


def line(console: Console, text: str) -> None:
    """Shows a line as it is, whatever looks like markup in it."""
    console.print(Text(text))


def more(console: Console, cursor: str | None) -> None:
    """Says how to go on where a page has ended."""
    if cursor is not None:
        console.print(Text(f"more: --cursor {cursor}", style="dim"), soft_wrap=True)


def _row(found: Memory) -> list[Text]:
    when = found.event_time or found.created_at
    said = f"{found.speaker}: {found.text}" if found.speaker else found.text
    short = said if len(said) <= _SHORT else said[: _SHORT - 1] + "…"
    cells = (found.id, str(found.version), f"{when:%Y-%m-%d}", short, ", ".join(found.tags))
    return [Text(cell) for cell in cells]


def _reasons(hit: SearchHit) -> str:
    parts = sorted(hit.signals, key=lambda part: -abs(part.contribution))[:_STRONGEST]
    return ", ".join(f"{part.signal} {part.contribution:+.2f}" for part in parts)


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={_plain(each)}" for name, each in value.items())
    return str(value)
