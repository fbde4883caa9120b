"""Earlier moments: `memos-ray past snapshot|snapshots|forget|get|history|list|diff|rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A memory.")]
_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the snapshot.")]
_At = Annotated[str, typer.Option("--at", help="A moment, or the name of a snapshot.")]
_Reason = Annotated[str | None, typer.Option(help="Kept with it.")]
_CursorOption = Annotated[str | None, typer.Option(help="From the page before.")]
_Limit = Annotated[int, typer.Option(help="Most of a page.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="Earlier moments of a namespace.")
    group.command("list")(list_then)
    for command in (snapshot, snapshots, forget, get, history, diff, rollback):
        group.command()(command)
    app.add_typer(group, name="past", rich_help_panel="Memories")


@with_service
def snapshot(
    call: Call, name: _NameArgument, namespace: NamespaceOption = None, reason: _Reason = None
) -> None:
    """Names this moment of a namespace."""
    made = call.memos.past.snapshot(name, namespace=namespace, reason=reason)
    call.out.show(made, lambda console: _rows(console, [made.model_dump(mode="json")]))


@with_service
def snapshots(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the snapshots of a namespace, oldest first."""
    found = [one.model_dump(mode="json") for one in call.memos.past.snapshots(namespace)]
    call.out.show({"snapshots": found}, lambda console: _rows(console, found))


@with_service
def forget(call: Call, name: _NameArgument, namespace: NamespaceOption = None) -> None:
    """Forgets a snapshot; nothing else changes."""
    gone = call.memos.past.forget(name, namespace=namespace)
    call.out.show(gone, lambda console: _rows(console, [gone.model_dump(mode="json")]))


@with_service
def get(call: Call, id: _IdArgument, at: _At, namespace: NamespaceOption = None) -> None:
    """Shows a memory as it was."""
    from memos_ray.cli.views import rendering

    found = call.memos.past.get(id, at, namespace=namespace)
    call.out.show(found, lambda console: rendering.memory(console, found))


@with_service
def history(call: Call, id: _IdArgument, at: _At, namespace: NamespaceOption = None) -> None:
    """Lists the versions that a memory had, newest first."""
    from memos_ray.cli.views import rendering

    found = call.memos.past.history(id, at, namespace=namespace)
    call.out.show(found, lambda console: rendering.history(console, found))


@with_service
def list_then(
    call: Call,
    at: _At,
    namespace: NamespaceOption = None,
    filter: Annotated[str | None, typer.Option(help="A filter, as in docs/filters.md.")] = None,
    cursor: _CursorOption = None,
    limit: _Limit = 20,
) -> None:
    """Lists a namespace as it was, newest first."""
    from memos_ray.cli.views import rendering

    page = call.memos.past.list(at, namespace=namespace, filter=filter, cursor=cursor, limit=limit)
    call.out.show(page, lambda console: rendering.memories(console, page))


@with_service
def diff(
    call: Call,
    since: Annotated[str, typer.Option(help="The earlier moment, or a snapshot.")],
    until: Annotated[str | None, typer.Option(help="The later one; now when absent.")] = None,
    namespace: NamespaceOption = None,
    cursor: _CursorOption = None,
    limit: _Limit = 100,
) -> None:
    """Says which memories were added, removed and changed between two moments."""
    found = call.memos.past.diff(since, until, namespace=namespace, cursor=cursor, limit=limit)
    rows = [one.model_dump(mode="json") for one in found.memories]
    call.out.show(found, lambda console: _rows(console, rows))


@with_service
def rollback(
    call: Call,
    to: Annotated[str, typer.Option(help="A moment, or the name of a snapshot.")],
    namespace: NamespaceOption = None,
    reason: _Reason = None,
) -> None:
    """Takes a namespace back; each memory gets a version of its own for that."""
    done = call.memos.past.rollback(to, namespace=namespace, reason=reason)
    call.out.show(done, lambda console: _rows(console, [done.model_dump(mode="json")]))


def _rows(console: Console, found: list[dict[str, Any]]) -> None:
    from memos_ray.cli.views import rendering

    headings = list(found[0]) if found else []
    rendering.rows(console, headings, [list(row.values()) for row in found])
