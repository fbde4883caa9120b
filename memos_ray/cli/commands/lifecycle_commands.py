"""How memories age: `memos-ray lifecycle status|sweep|archive|hold|release`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.lifecycle.models import Lifecycle
    from memos_ray.gateway.memories.models import WriteResult

_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A memory.")]
_ReasonOption = Annotated[str | None, typer.Option("--reason", help="Kept with the version.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="How memories age, and what is put away.")
    for command in (status, sweep, archive, hold, release):
        group.command()(command)
    app.add_typer(group, name="lifecycle", rich_help_panel="Memories")


@with_service
def status(call: Call) -> None:
    """Says how memories age: the last sweep, and what it has moved."""
    found = call.memos.lifecycle.status()
    call.out.show(found, lambda console: _show(console, found))


@with_service
def sweep(call: Call) -> None:
    """Sweeps all memories now: expires, archives and collects what is due."""
    found = call.memos.lifecycle.sweep()
    call.out.show(found, lambda console: _show(console, found))


@with_service
def archive(
    call: Call,
    id: _IdArgument,
    namespace: NamespaceOption = None,
    reason: _ReasonOption = None,
) -> None:
    """Puts a memory away: it can be read, but searches leave it out."""
    _wrote(call, call.memos.lifecycle.archive(id, namespace=namespace, reason=reason))


@with_service
def hold(
    call: Call, id: _IdArgument, namespace: NamespaceOption = None, reason: _ReasonOption = None
) -> None:
    """Puts a memory under legal hold: nothing takes it away, whatever its state is."""
    _wrote(call, call.memos.lifecycle.hold(id, namespace=namespace, reason=reason))


@with_service
def release(
    call: Call, id: _IdArgument, namespace: NamespaceOption = None, reason: _ReasonOption = None
) -> None:
    """Lifts a legal hold; for administrators of the tenant."""
    _wrote(call, call.memos.lifecycle.release(id, namespace=namespace, reason=reason))


def _wrote(call: Call, result: WriteResult) -> None:
    from memos_ray.cli.views import rendering

    call.out.show(result, lambda console: rendering.wrote(console, result))


def _show(console: Console, found: Lifecycle) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    state = "sweeping" if found.sweeping else "waiting" if found.enabled else "off"
    rows = {
        "state": state,
        "partitions left": str(found.partitions_left),
        "last sweep": found.finished_at.isoformat() if found.finished_at else "none yet",
        "seen": str(found.seen),
        **{name: str(count) for name, count in found.moves.items()},
        "error": found.error,
    }
    for name, value in rows.items():
        if value is not None:
            table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
