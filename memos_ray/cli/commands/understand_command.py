"""Say what a search would make of a question: `memos-ray understand`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import given
from memos_ray.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.memories.understanding_models import Understanding

TurnsOption = Annotated[
    Path | None,
    typer.Option(
        "--turns", metavar="FILE", help="Messages before it: a JSON list, as OpenAI's clients keep."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Memories")(understand)


def turns_of(file: Path | None) -> list[Any] | None:
    """Reads messages from a file.

    Raises:
        InvalidInputError: it cannot be read, or is no JSON list.
    """
    if file is None:
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError("the turns cannot be read", reason=error.strerror) from None
    except ValueError:
        raise InvalidInputError("the turns are not JSON", field="turns") from None
    if not isinstance(found, list):
        raise InvalidInputError("the turns must be a list of messages", field="turns")
    return found


@with_service
def understand(
    call: Call,
    question: Annotated[str, typer.Argument(help="A question, in words.")],
    turns: TurnsOption = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Where dates are looked up; repeatable."),
    ] = None,
) -> None:
    """Says what a search would make of a question, in its dialogue, and by which rules."""
    found = call.memos.understand(question, namespace=namespace, **given(turns=turns_of(turns)))
    call.out.show(found, lambda console: _render(console, found))


def _render(console: Console, found: Understanding) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(found.question, style="bold"))
    for one in found.fillings:
        console.print(Text(f"  {one.words} -> {one.meant or 'left as it is'}: {one.reason}"))
    span = found.time_range
    rows = {
        "intent": f"{found.intent.value} ({found.confidence:.2f})",
        "model": "" if found.model is None else found.model.value,
        "searched for": found.text,
        "time": "" if span is None else f"{span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}",
        "event": "" if found.event is None else f"{found.event.event}: {found.event.outcome}",
        "names": ", ".join(one.text for one in found.entities),
        "topics": ", ".join(found.topics),
        "kinds": ", ".join(found.semantic_types),
        "anchors": ", ".join(found.anchors),
        "where": ", ".join(found.namespaces) or found.reach.value,
        "output": found.target.value,
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
