"""Trusted sources: `memos-ray source add|ls|review|accept|refuse`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.exits import ExitCode
from memos_ray.cli.values import NamespaceOption, VisibilityOption, given, moment_option

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.sources.models import DecisionReport, FindingInfo, SourceInfo

_IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="Findings, as `source review` shows.")
]
_SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="All findings of a source that it is not outranked in."),
]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="Authoritative documents, and what they end.")
    group.command("ls")(list_sources)
    for command in (add, review, accept, refuse):
        group.command()(command)
    app.add_typer(group, name="source", rich_help_panel="Memories")


@with_service
def add(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Markdown, plain text or PDF.")],
    name: Annotated[str, typer.Option("--name", help="What all its editions are called.")],
    issuer: Annotated[str, typer.Option("--issuer", help="Who has issued it.")],
    valid_from: Annotated[datetime, moment_option("--valid-from", "From when it holds.")],
    trust: Annotated[
        int, typer.Option("--trust", min=1, max=100, help="Its rank among sources.")
    ] = 50,
    visibility: VisibilityOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Adds an edition of a document, and compares it with what is held; says what it has found."""
    added = call.memos.sources.add(
        file,
        name=name,
        issuer=issuer,
        valid_from=valid_from,
        trust=trust,
        namespace=namespace,
        **given(visibility=visibility),
    )
    call.out.show(added, lambda console: _source(console, added))


@with_service
def list_sources(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists sources by name, the newest edition first."""
    found = call.memos.sources.list(namespace)

    def render(console: Console) -> None:
        for one in found.sources:
            _source(console, one)

    call.out.show(found, render)


@with_service
def review(
    call: Call,
    source: Annotated[
        str | None, typer.Option("--source", help="Of one source; of all when absent.")
    ] = None,
    decided: Annotated[
        bool, typer.Option("--decided", help="What was decided, and by whom.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=200, help="Most results.")] = 50,
    namespace: NamespaceOption = None,
) -> None:
    """Shows what sources would supersede, with reasons and both texts, the surest first."""
    found = call.memos.sources.review(source, namespace=namespace, decided=decided, limit=limit)

    def render(console: Console) -> None:
        for one in found.findings:
            _finding(console, one)

    call.out.show(found, render)


@with_service
def accept(
    call: Call,
    ids: _IdsArgument = None,
    source: _SourceOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Ends the validity of what is held; nothing is deleted."""
    _decided(call, call.memos.sources.accept(ids or None, source=source, namespace=namespace))


@with_service
def refuse(
    call: Call,
    ids: _IdsArgument = None,
    source: _SourceOption = None,
    namespace: NamespaceOption = None,
) -> None:
    """Leaves what is held as it is; it is not found again."""
    _decided(call, call.memos.sources.refuse(ids or None, source=source, namespace=namespace))


def _decided(call: Call, report: DecisionReport) -> None:
    def render(console: Console) -> None:
        from rich.text import Text

        for one in report.results:
            said = one.finding.state.value if one.finding else f"{one.error and one.error.detail}"
            console.print(Text(f"{one.id}  {said}"))

    call.out.show(report, render)
    if any(one.error is not None for one in report.results):
        raise typer.Exit(ExitCode.PARTLY)


def _source(console: Console, one: SourceInfo) -> None:
    from rich.text import Text

    held = f"{one.name}, {one.issuer}, from {one.valid_from.date().isoformat()}, trust {one.trust}"
    console.print(Text(f"{one.id}  {held}"))
    console.print(Text(f"  {one.stage.value}: {one.compared} of {one.sections} sections compared"))
    if one.pages_without_text:
        pages = ", ".join(map(str, one.pages_without_text))
        console.print(Text(f"  nothing was read of the pages without text: {pages}"))


def _finding(console: Console, one: FindingInfo) -> None:
    from rich.text import Text

    rank = ", outranked" if one.outranked else ""
    head = f"{one.id}  {one.kind.value}, {one.confidence:.2f}, {one.state.value}{rank}"
    console.print(Text(f"{head}  by {one.source_title}"))
    console.print(Text(f"  held {one.held}: {one.held_text}"))
    if one.replacing is not None:
        console.print(Text(f"  says {one.replacing}: {one.replacing_text}"))
    for reason in one.reasons:
        console.print(Text(f"  {reason}"))
    if one.decided_by is not None:
        console.print(Text(f"  decided by {one.decided_by}"))
