"""Order among memories: `memos-ray organise ls|accept|refuse|automatic`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.organising.models import OrganisingList, OrganisingProposal

_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A proposal.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="Duplicates and overtaken facts.")
    group.command("ls")(list_proposals)
    for command in (accept, refuse, automatic):
        group.command()(command)
    app.add_typer(group, name="organise", rich_help_panel="Memories")


@with_service
def list_proposals(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists duplicates, and facts that newer ones have overtaken, the surest first."""
    found = call.memos.organise.list(namespace)
    call.out.show(found, lambda console: _proposals(console, found))


@with_service
def accept(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Does what is proposed; nothing is deleted."""
    found = call.memos.organise.accept(id, namespace=namespace)
    call.out.show(found, lambda console: _proposal(console, found))


@with_service
def refuse(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Leaves the memories as they are; it is not proposed again."""
    found = call.memos.organise.refuse(id, namespace=namespace)
    call.out.show(found, lambda console: _proposal(console, found))


@with_service
def automatic(
    call: Call,
    namespace: NamespaceOption = None,
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
) -> None:
    """Has what is sure done at once from now on, with your rights."""
    found = call.memos.organise.automate(not off, namespace=namespace)
    call.out.show(found, lambda console: _proposals(console, found))


def _proposals(console: Console, found: OrganisingList) -> None:
    for one in found.proposals:
        _proposal(console, one)
    mode = "What is sure is done at once." if found.automatic else "Nothing is done unasked."
    console.print(mode, f"{found.lag} log entries are still to be looked at." if found.lag else "")


def _proposal(console: Console, one: OrganisingProposal) -> None:
    from rich.text import Text

    head = f"{one.id}  {one.kind.value}, {one.confidence:.2f}, {one.state.value}"
    console.print(Text(head), Text(f"  older {one.older}: {one.older_text}"), sep="\n")
    console.print(Text(f"  newer {one.newer}: {one.newer_text}"))
    for reason in one.reasons:
        console.print(Text(f"  {reason}"))
