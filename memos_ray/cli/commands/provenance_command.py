"""Show where a memory came from: `memos-ray provenance`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import CursorOption, LimitOption, MemoryArgument, NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.records.provenance_models import Provenance, ProvenanceNode


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Memories")(provenance)


@with_service
def provenance(
    call: Call,
    id: MemoryArgument,
    namespace: NamespaceOption = None,
    direction: Annotated[
        str, typer.Option("--direction", help="`up`, to what it was made of; `down`; or `both`.")
    ] = "both",
    depth: Annotated[int, typer.Option("--depth", help="Most links from the memory.")] = 3,
    cursor: CursorOption = None,
    limit: LimitOption = 50,
) -> None:
    """Says who made a memory, when, of what and by what trigger, and what was made of it."""
    found = call.memos.provenance(
        id, namespace=namespace, direction=direction, depth=depth, cursor=cursor, limit=limit
    )
    call.out.show(found, lambda console: _render(console, found))


def _render(console: Console, found: Provenance) -> None:
    from rich.text import Text

    from memos_ray.cli.views import rendering

    for node in found.nodes:
        console.print(Text(_line(node)))
        for link in found.links:
            if link.made == node.id:
                place = link.source or link.uri or link.item or ""
                version = f" version {link.version}" if link.version else ""
                console.print(Text(f"    {link.tie.value}: {place}{version}"))
        if node.withheld_up:
            console.print("    of something withheld")
        if node.withheld_down:
            console.print("    something withheld was made of it")
    if found.truncated:
        console.print("There is more than was followed.")
    rendering.more(console, found.cursor)


def _line(node: ProvenanceNode) -> str:
    model = f" for {node.model}" if node.model else ""
    made = f"{node.made.trigger.value} by {node.made.author}, {node.made.at:%Y-%m-%d %H:%M:%S}"
    return f"{node.distance}  {node.id}  {node.form.value}{model}, {node.state.value}: {made}"
