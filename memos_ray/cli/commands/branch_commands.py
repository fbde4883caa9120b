"""What-if branches: `memos-ray branch create|list|diff|merge|discard|add|update|delete|…`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the branch.")]
_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A memory.")]
_TextArgument = Annotated[str, typer.Argument(metavar="TEXT", help="What it says.")]
_Reason = Annotated[str | None, typer.Option(help="Kept with it.")]
_Filter = Annotated[str | None, typer.Option(help="A filter, as in docs/filters.md.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="What-if branches of a namespace.")
    group.command("list")(list_branches)
    for command in (
        create,
        diff,
        merge,
        discard,
        add,
        update,
        delete,
        restore,
        get,
        memories,
        search,
    ):
        group.command()(command)
    app.add_typer(group, name="branch", rich_help_panel="Memories")


@with_service
def create(
    call: Call,
    name: _NameArgument,
    namespace: NamespaceOption = None,
    at: Annotated[
        str | None, typer.Option("--at", help="A moment, or a snapshot; now when absent.")
    ] = None,
    reason: _Reason = None,
) -> None:
    """Makes a branch of a namespace."""
    made = call.memos.branches.create(name, namespace=namespace, at=at, reason=reason)
    call.out.show(made, lambda console: _rows(console, [made.model_dump(mode="json")]))


@with_service
def list_branches(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the branches of a namespace, oldest first."""
    found = [one.model_dump(mode="json") for one in call.memos.branches.list(namespace)]
    call.out.show({"branches": found}, lambda console: _rows(console, found))


@with_service
def diff(call: Call, name: _NameArgument, namespace: NamespaceOption = None) -> None:
    """Says what a branch adds, removes and changes."""
    found = call.memos.branches.diff(name, namespace=namespace)
    rows = [one.model_dump(mode="json") for one in found.memories]
    call.out.show(found, lambda console: _rows(console, rows))


@with_service
def merge(
    call: Call, name: _NameArgument, namespace: NamespaceOption = None, reason: _Reason = None
) -> None:
    """Brings all changes of a branch into its namespace and ends it, or lists the conflicts."""
    done = call.memos.branches.merge(name, namespace=namespace, reason=reason)
    rows = [{"id": one, "merged": True, "conflict": ""} for one in done.changed]
    rows += [{"id": one, "merged": False, "conflict": why} for one, why in done.conflicts.items()]
    call.out.show(done, lambda console: _rows(console, rows))


@with_service
def discard(call: Call, name: _NameArgument, namespace: NamespaceOption = None) -> None:
    """Ends a branch and erases what it holds."""
    gone = call.memos.branches.discard(name, namespace=namespace)
    call.out.show(gone, lambda console: _rows(console, [gone.model_dump(mode="json")]))


@with_service
def add(
    call: Call,
    name: _NameArgument,
    text: _TextArgument,
    namespace: NamespaceOption = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Repeatable.")] = None,
    reason: _Reason = None,
) -> None:
    """Stores a memory in a branch."""
    done = call.memos.branches.add(name, text, namespace=namespace, tags=tag or [], reason=reason)
    call.out.show(done, lambda console: _rows(console, [done.model_dump(mode="json")]))


@with_service
def update(
    call: Call,
    name: _NameArgument,
    id: _IdArgument,
    text: _TextArgument,
    namespace: NamespaceOption = None,
    reason: _Reason = None,
) -> None:
    """Changes the text of a memory in a branch."""
    done = call.memos.branches.update(name, id, namespace=namespace, text=text, reason=reason)
    call.out.show(done, lambda console: _rows(console, [done.model_dump(mode="json")]))


@with_service
def delete(
    call: Call,
    name: _NameArgument,
    id: _IdArgument,
    namespace: NamespaceOption = None,
    reason: _Reason = None,
) -> None:
    """Deletes a memory in a branch; the namespace keeps it."""
    done = call.memos.branches.delete(name, id, namespace=namespace, reason=reason)
    call.out.show(done, lambda console: _rows(console, [done.model_dump(mode="json")]))


@with_service
def restore(
    call: Call,
    name: _NameArgument,
    id: _IdArgument,
    namespace: NamespaceOption = None,
    reason: _Reason = None,
) -> None:
    """Undoes the deletion of a memory in a branch."""
    done = call.memos.branches.restore(name, id, namespace=namespace, reason=reason)
    call.out.show(done, lambda console: _rows(console, [done.model_dump(mode="json")]))


@with_service
def get(
    call: Call, name: _NameArgument, id: _IdArgument, namespace: NamespaceOption = None
) -> None:
    """Shows a memory as a branch has it."""
    from memos_ray.cli.views import rendering

    found = call.memos.branches.get(name, id, namespace=namespace)
    call.out.show(found, lambda console: rendering.memory(console, found))


@with_service
def memories(
    call: Call,
    name: _NameArgument,
    namespace: NamespaceOption = None,
    filter: _Filter = None,
    cursor: Annotated[str | None, typer.Option(help="From the page before.")] = None,
    limit: Annotated[int, typer.Option(help="Most of a page.")] = 20,
) -> None:
    """Lists what a branch shows, newest first."""
    from memos_ray.cli.views import rendering

    page = call.memos.branches.memories(
        name, namespace=namespace, filter=filter, cursor=cursor, limit=limit
    )
    call.out.show(page, lambda console: rendering.memories(console, page))


@with_service
def search(
    call: Call,
    name: _NameArgument,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is wanted, in words.")],
    namespace: NamespaceOption = None,
    filter: _Filter = None,
    limit: Annotated[int, typer.Option(help="Most hits.")] = 10,
) -> None:
    """Finds memories in a branch."""
    from memos_ray.cli.views import rendering

    result = call.memos.branches.search(
        name, query, namespace=namespace, filter=filter, limit=limit
    )
    call.out.show(result, lambda console: rendering.hits(console, result))


def _rows(console: Console, found: list[dict[str, Any]]) -> None:
    from memos_ray.cli.views import rendering

    headings = list(found[0]) if found else []
    rendering.rows(console, headings, [list(row.values()) for row in found])
