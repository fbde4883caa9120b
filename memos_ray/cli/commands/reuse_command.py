"""What earlier tasks have used: `memos-ray reuse`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Memories")(reuse)


@with_service
def reuse(
    call: Call,
    task: Annotated[str, typer.Argument(metavar="TASK", help="What is to be done, in words.")],
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Where to look; repeatable; your own home."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, max=200, help="Most results.")] = 10,
) -> None:
    """Offers what earlier tasks like this one have used usefully, and says why."""
    found = call.memos.reuse(task, namespace=namespace, limit=limit)

    def render(console: Console) -> None:
        from rich.text import Text

        for one in found.tasks:
            console.print(Text(f"{one.alike:.2f}  {one.name}: {'; '.join(one.reasons)}"))
        for offer in found.offers:
            console.print(Text(f"{offer.score:.2f}  {offer.memory.id}  {offer.memory.text}"))
            console.print(Text(f"      {'; '.join(offer.reasons)}"))

    call.out.show(found, render)
