"""How answers look to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    shown = found.model_dump(mode="json", exclude={"text", "usage"})
    if found.usage.access_count:
        shown["read"] = f"{found.usage.access_count} times"
    fields(console, {name: value for name, value in shown.items() if value not in (False, 0)})


def memories(console: Console, page: MemoryPage) -> None:
    """Shows a page of memories."""
    found = table("memory", "said or stored", "tags")
    for one in page.memories:
        found.add_row(*_row(one))
    console.print(found)
    if page.unreadable:
        line(console, f"put away, and cannot be read now: {', '.join(page.unreadable)}")
    more(console, page.cursor)


def hits(console: Console, result: SearchResult) -> None:
    """Shows what a search has found, with the strongest reasons when it was asked for them."""
    found = table("score", "memory", "said or stored", "tags")
    for hit in result.hits:
        found.add_row(Text(f"{hit.score:.2f}"), *_row(hit.memory, _reasons(hit)))
    console.print(found)
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
    rows(
        console,
        ("version", "change", "by", "at", "reason"),
        [
            (one.number, one.change, one.author, f"{one.created_at:%Y-%m-%d %H:%M:%S}", one.reason)
            for one in found.versions
        ],
    )
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
    rows(
        console,
        ("at", "who", "operation", "outcome", "memory", "v"),
        [
            (
                f"{one.at:%Y-%m-%d %H:%M:%S}",
                *(one.principal, one.operation, one.outcome, one.memory_id, one.version or ""),
            )
            for one in page.entries
        ],
    )
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
    """Shows a plain table, without the columns in which nothing stands."""
    texts = [[_plain(cell) for cell in cells] for cells in found]
    shown = [
        place for place in range(len(headings)) if not texts or any(cells[place] for cells in texts)
    ]
    made = table(*(headings[place] for place in shown))
    for cells in texts:
        made.add_row(*(Text(cells[place]) for place in shown))
    console.print(made)


def table(*headings: str, title: str | None = None) -> Table:
    """Makes a table that breaks what is too long for it: an id that is cut off is of no use."""
    made = Table(title=title)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    return made


def fields(console: Console, found: Mapping[str, object]) -> None:
    """Shows names with their values, each on a line of its own, which only the terminal breaks."""
    shown = {name: text for name, value in found.items() if (text := _plain(value))}
    width = max(map(len, shown), default=0) + 2
    for name, text in shown.items():
        console.print(Text.assemble((name.ljust(width), "dim"), text), soft_wrap=True)


def line(console: Console, text: str) -> None:
    """Shows a line as it is, whatever looks like markup in it."""
    console.print(Text(text))


def more(console: Console, cursor: str | None) -> None:
    """Says how to go on where a page has ended."""
    if cursor is not None:
        console.print(Text(f"more: --cursor {cursor}", style="dim"), soft_wrap=True)


def _row(found: Memory, reasons: str = "") -> tuple[Text, Text, Text]:
    when = found.event_time or found.created_at
    said = f"{found.speaker}: {found.text}" if found.speaker else found.text
    short = said if len(said) <= _SHORT else said[: _SHORT - 1] + "…"
    below = f"\n{found.id} v{found.version}" + (f"\n{reasons}" if reasons else "")
    memory = Text.assemble(short, (below, "dim"))
    return memory, Text(f"{when:%Y-%m-%d}"), Text(", ".join(found.tags))


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
