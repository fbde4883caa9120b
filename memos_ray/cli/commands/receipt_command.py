"""Show what an erasure has retired: `memos-ray receipt`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption
from memos_ray.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.records.receipt_models import ErasureReceipt


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="Memories")(receipt)


@with_service
def receipt(
    call: Call,
    id: Annotated[str, typer.Argument(metavar="ID", help="A memory that was erased.")],
    namespace: NamespaceOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Fail unless it is complete and rightly signed.")
    ] = False,
    public_key: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The cluster's public key, as you know it."),
    ] = None,
) -> None:
    """Says what the erasure of a memory has retired, and whether anything of it is left."""
    found = call.memos.receipt(id, namespace=namespace)
    if verify and found.state != "done":
        raise InvalidInputError("the erasure is not complete yet", id=id)
    if verify and not found.verified(public_key):
        raise InvalidInputError("the receipt's signature does not fit", id=id)
    call.out.show(found, lambda console: _render(console, found))


def _render(console: Console, found: ErasureReceipt) -> None:
    from rich.text import Text

    from memos_ray.cli.views import rendering

    table = rendering.table("what", "name", "state", "since")
    for item in found.items:
        since = item.done_at.isoformat(timespec="seconds") if item.done_at else ""
        table.add_row(item.kind.value, Text(item.name), item.state, since)
    console.print(table)
    console.print(f"{found.id}: {found.state}, erased by", Text(found.principal))
