"""`ingest`: files of any known format into memories."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.exits import ExitCode
from memos_ray.cli.values import (
    AttributesOption,
    EventTimeOption,
    NamespaceOption,
    TagsOption,
    VisibilityOption,
    attributes_of,
    given,
)
from memos_ray.core.reader.formats import Format

if TYPE_CHECKING:
    from memos_ray.gateway.memories.ingestion import Progress


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Memories")(ingest)


@with_service
def ingest(
    call: Call,
    source: Annotated[str, typer.Argument(help="File to read; - reads standard input.")],
    namespace: NamespaceOption = None,
    format: Annotated[
        Format | None, typer.Option(help="What it is; found out when absent.")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            "--source", help="Stable name of the input, such as its URI; the file's name if absent."
        ),
    ] = None,
    conversation: Annotated[str | None, typer.Option(help="Name of the conversation.")] = None,
    tz: Annotated[str | None, typer.Option(help="Zone of times that name none; UTC.")] = None,
    event_time: EventTimeOption = None,
    language: Annotated[str | None, typer.Option(help="Such as en; found out if absent.")] = None,
    chunk_words: Annotated[int | None, typer.Option(min=8, help="Words of one chunk.")] = None,
    chunk_overlap: Annotated[
        int | None, typer.Option(min=0, help="Words that neighbouring chunks share.")
    ] = None,
    tag: TagsOption = None,
    attribute: AttributesOption = None,
    visibility: VisibilityOption = None,
    extract: Annotated[
        bool, typer.Option("--extract", help="Have a model read it for facts, behind the answer.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Items of one write.")] = 256,
) -> None:
    """Reads a dialogue, document or list of events and stores what is in it, item by item.

    To repeat it, or to go on after a cut, run it again: nothing is stored twice.
    """
    options = given(
        format=format,
        source=identity,
        conversation=conversation,
        tz=tz,
        event_time=event_time,
        language=language,
        chunk_words=chunk_words,
        chunk_overlap=chunk_overlap,
        tags=tag,
        attributes=attributes_of(attribute),
        visibility=visibility,
        extract=extract or None,
    )
    memos = call.memos
    content = sys.stdin.buffer.read() if source == "-" else source
    with _progress(shown=not call.out.as_json) as progress:
        try:
            report = memos.ingest(
                content, namespace=namespace, progress=progress, batch=batch, **options
            )
        except KeyboardInterrupt:
            call.out.note("stopped; run it again to go on: nothing is stored twice")
            raise
    from memos_ray.cli.views import rendering

    call.out.show(report, lambda console: rendering.ingested(console, report))
    if report.failed:
        raise typer.Exit(ExitCode.PARTLY)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress | None]:
    """Shows on standard error how many items have been dealt with, if that is a terminal."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.completed} items"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("ingest", total=None)
        yield lambda done: bar.update(task, completed=done)
