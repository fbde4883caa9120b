"""Teach models, and see what they have learnt: the commands of `memos-ray adapter`."""

from __future__ import annotations

from typing import Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A lesson, or its adapter.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="LoRA adapters made of memories.")
    group.command("ls")(list_lessons)
    for command in (teach, show, cancel, externalise):
        group.command()(command)
    app.add_typer(group, name="adapter", rich_help_panel="Models")


@with_service
def teach(
    call: Call,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Memories of one namespace.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Which model; the only one there is.")
    ] = None,
    namespace: NamespaceOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until the lesson has ended.")] = False,
) -> None:
    """Begins to teach a model memories of a namespace."""
    from memos_ray.cli import adapter_rendering

    lesson = call.memos.adapters.teach(ids, model, namespace=namespace)
    if wait:
        with adapter_rendering.progress(call.out) as advance:
            lesson = call.memos.adapters.wait(lesson.id, namespace=namespace, progress=advance)
    call.out.show(lesson, lambda console: adapter_rendering.lesson(console, lesson))


@with_service
def list_lessons(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the lessons of a namespace, and the adapters that they have led to."""
    from memos_ray.cli import adapter_rendering

    found = call.memos.adapters.list(namespace)
    shown = {"lessons": [lesson.model_dump(mode="json") for lesson in found]}
    call.out.show(shown, lambda console: adapter_rendering.lessons(console, found))


@with_service
def show(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Shows a lesson, with the report of its adapter."""
    from memos_ray.cli import adapter_rendering

    found = call.memos.adapters.get(id, namespace=namespace)
    call.out.show(found, lambda console: adapter_rendering.lesson(console, found))


@with_service
def cancel(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Ends a lesson; one that has ended is left as it is."""
    from memos_ray.cli import adapter_rendering

    found = call.memos.adapters.cancel(id, namespace=namespace)
    call.out.show(found, lambda console: adapter_rendering.lesson(console, found))


@with_service
def externalise(
    call: Call,
    id: _IdArgument,
    namespace: NamespaceOption = None,
    lineage_only: Annotated[
        bool, typer.Option("--lineage-only", help="Without asking the model what it knows.")
    ] = False,
) -> None:
    """Makes editable plaintext memories from an adapter; once more makes nothing new."""
    from memos_ray.cli import adapter_rendering

    found = call.memos.adapters.externalise(id, namespace=namespace, probe=not lineage_only)
    call.out.show(found, lambda console: adapter_rendering.externalised(console, found))
