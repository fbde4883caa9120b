"""How lessons and adapters look to people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.text import Text

from memos_ray.cli.output import Output
from memos_ray.cli.views import rendering
from memos_ray.gateway.parameter.models import ExternaliseResult, LessonReport

if TYPE_CHECKING:
    from rich.console import Console


def lessons(console: Console, found: Sequence[LessonReport]) -> None:
    """Shows the lessons of a namespace."""
    table = rendering.table("id", "model", "state", "done", "loss", "memories", "size")
    for one in found:
        table.add_row(
            Text(one.id),
            Text(one.model),
            one.state.value,
            f"{one.share:.0%}",
            "" if one.loss is None else f"{one.loss:.3f}",
            str(len(one.memories)),
            decimal(one.size_bytes) if one.size_bytes else "",
        )
    console.print(table)


def lesson(console: Console, found: LessonReport) -> None:
    """Shows everything that is known of a lesson."""
    lessons(console, [found])
    if found.reason:
        console.print(Text(found.reason))
    if found.report:
        from rich.markdown import Markdown

        console.print(Markdown(found.report))


def externalised(console: Console, found: ExternaliseResult) -> None:
    """Shows the memories that an adapter was turned into."""
    table = rendering.table("id", "way", "confidence", "learnt from")
    for one in found.memories:
        source = f"{one.source.id} v{one.source.version}"
        table.add_row(Text(one.id), one.way.value, f"{one.confidence:.0%}", Text(source))
    console.print(table)
    if found.reason:
        console.print(Text(f"the model was not asked: {found.reason}"))


@contextmanager
def progress(out: Output) -> Iterator[Callable[[LessonReport], None] | None]:
    """Shows a bar meanwhile, to people; yields what moves it."""
    if out.as_json:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("learning"), BarColumn(), TextColumn("{task.fields[loss]}"))
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0, loss="")

        def advance(lesson: LessonReport) -> None:
            loss = "" if lesson.loss is None else f"loss {lesson.loss:.3f}"
            bar.update(task, completed=lesson.share, loss=loss)

        yield advance
