"""How memories evolve by their use: `memos-ray evolve` and `memos-ray feedback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.evolution.models import EvolutionProposal, EvolutionStatus

_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A proposal.")]


def register(app: typer.Typer) -> None:
    """Adds the group, and the command."""
    group = typer.Typer(no_args_is_help=True, help="What the use of memories suggests.")
    for command in (status, look, mode, accept, refuse, undo):
        group.command()(command)
    app.add_typer(group, name="evolve", rich_help_panel="Memories")
    app.command(rich_help_panel="Memories")(feedback)


@with_service
def feedback(
    call: Call,
    memory: Annotated[
        str | None, typer.Option("--memory", help="The memory that it is about.")
    ] = None,
    response: Annotated[
        str | None, typer.Option("--response", help="The answer of yours that it is about.")
    ] = None,
    useless: Annotated[bool, typer.Option("--useless", help="It did not help.")] = False,
    note: Annotated[str | None, typer.Option("--note", help="Why; erased with the memory.")] = None,
    namespace: NamespaceOption = None,
) -> None:
    """Says that a memory, or an answer, was useful, or with `--useless` that it was not."""
    found = call.memos.feedback(
        memory=memory, response=response, useful=not useless, note=note, namespace=namespace
    )

    def table(console: Console) -> None:
        for id, worth in found.worth.items():
            console.print(f"{id}  {worth:+.2f}", markup=False)

    call.out.show(found, table)


@with_service
def status(call: Call, namespace: NamespaceOption = None) -> None:
    """Says how a namespace evolves: what is proposed, and what memories are worth."""
    found = call.memos.evolution.status(namespace)
    call.out.show(found, lambda console: _status(console, found))


@with_service
def look(call: Call, namespace: NamespaceOption = None) -> None:
    """Looks now for what use suggests."""
    found = call.memos.evolution.look(namespace)
    call.out.show(found, lambda console: _status(console, found))


@with_service
def mode(
    call: Call,
    mode: Annotated[
        str, typer.Argument(metavar="MODE", help="`manual`, `propose` or `automatic`.")
    ],
    namespace: NamespaceOption = None,
) -> None:
    """Sets whether that happens by itself; `automatic` does it with your rights."""
    found = call.memos.evolution.mode(mode, namespace=namespace)
    call.out.show(found, lambda console: _status(console, found))


@with_service
def accept(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Does what is proposed; what it replaces is put away and not lost."""
    found = call.memos.evolution.accept(id, namespace=namespace)
    call.out.show(found, lambda console: _proposal(console, found))


@with_service
def refuse(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Leaves the memories as they are; it is not proposed again."""
    found = call.memos.evolution.refuse(id, namespace=namespace)
    call.out.show(found, lambda console: _proposal(console, found))


@with_service
def undo(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Takes an accepted proposal back, as long as nothing of it has been changed since."""
    found = call.memos.evolution.undo(id, namespace=namespace)
    call.out.show(found, lambda console: _proposal(console, found))


def _status(console: Console, found: EvolutionStatus) -> None:
    for one in found.proposals:
        _proposal(console, one)
    for id, worth in found.worth.items():
        console.print(f"{id}  {worth:+.2f}", markup=False)
    console.print(f"Mode: {found.mode.value}")


def _proposal(console: Console, one: EvolutionProposal) -> None:
    from rich.text import Text

    console.print(Text(f"{one.id}  {one.kind.value}, {one.state.value}"))
    if one.model:
        console.print(Text(f"  to {one.form.value}, for {one.model}"))
    console.print(Text(f"  of {', '.join(source.id for source in one.sources)}"))
    for reason in one.reasons:
        console.print(Text(f"  {reason}"))
    for text in one.texts:
        console.print(Text(f"    {text}"))
