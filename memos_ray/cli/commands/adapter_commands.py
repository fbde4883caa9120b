"""What models learn, from where and to where: the commands of `memos-ray adapter`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

if TYPE_CHECKING:
    from memos_ray.gateway.parameter.models import LessonReport

_IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A lesson, or its adapter.")]
_ProposalArgument = Annotated[str, typer.Argument(metavar="ID", help="A proposal.")]
_ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Which model; the only one there is.")
]
_WaitOption = Annotated[bool, typer.Option("--wait", help="Until the lesson has ended.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="LoRA adapters made of memories.")
    group.command("ls")(list_lessons)
    group.command("import")(import_folder)
    for command in (teach, merge, export, show, cancel, externalise, proposals, accept, refuse):
        group.command()(command)
    app.add_typer(group, name="adapter", rich_help_panel="Models")


@with_service
def teach(
    call: Call,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Memories of one namespace.")],
    model: _ModelOption = None,
    namespace: NamespaceOption = None,
    wait: _WaitOption = False,
) -> None:
    """Begins to teach a model memories of a namespace."""
    lesson = call.memos.adapters.teach(ids, model, namespace=namespace)
    _followed(call, lesson, namespace, wait)


@with_service
def merge(
    call: Call,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Live adapters of one model.")],
    method: Annotated[
        str, typer.Option("--method", help="How: `linear`, `svd`, `ties` or `dare`.")
    ] = "svd",
    weight: Annotated[
        list[float] | None,
        typer.Option("--weight", "-w", help="Of each adapter, in order; 1 when there are none."),
    ] = None,
    density: Annotated[
        float | None,
        typer.Option("--density", help="Share of changes kept by ties (0.7) and dare (0.9)."),
    ] = None,
    namespace: NamespaceOption = None,
    wait: _WaitOption = False,
) -> None:
    """Begins to combine live adapters of a namespace into one."""
    lesson = call.memos.adapters.merge(
        ids, method=method, weights=weight or (), density=density, namespace=namespace
    )
    _followed(call, lesson, namespace, wait)


@with_service
def import_folder(
    call: Call,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="As PEFT writes it.")],
    source: Annotated[
        list[str],
        typer.Option("--source", "-s", metavar="ID", help="A memory that it is about; repeatable."),
    ],
    model: _ModelOption = None,
    namespace: NamespaceOption = None,
    wait: _WaitOption = False,
) -> None:
    """Begins to check an adapter that was made elsewhere, in safetensors."""
    lesson = call.memos.adapters.import_folder(folder, source, model, namespace=namespace)
    _followed(call, lesson, namespace, wait)


@with_service
def export(
    call: Call,
    id: _IdArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty one.")],
    namespace: NamespaceOption = None,
) -> None:
    """Writes an adapter into a folder that PEFT loads."""
    call.memos.adapters.export_folder(id, folder, namespace=namespace)
    call.out.show(
        {"id": id, "folder": str(folder)}, lambda console: console.print(str(folder), markup=False)
    )


@with_service
def list_lessons(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the lessons of a namespace, and the adapters that they have led to."""
    from memos_ray.cli.views import adapter_rendering

    found = call.memos.adapters.list(namespace)
    shown = {"lessons": [lesson.model_dump(mode="json") for lesson in found]}
    call.out.show(shown, lambda console: adapter_rendering.lessons(console, found))


@with_service
def show(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Shows a lesson, with the report of its adapter."""
    from memos_ray.cli.views import adapter_rendering

    found = call.memos.adapters.get(id, namespace=namespace)
    call.out.show(found, lambda console: adapter_rendering.lesson(console, found))


@with_service
def cancel(call: Call, id: _IdArgument, namespace: NamespaceOption = None) -> None:
    """Ends a lesson; one that has ended is left as it is."""
    from memos_ray.cli.views import adapter_rendering

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
    from memos_ray.cli.views import adapter_rendering

    found = call.memos.adapters.externalise(id, namespace=namespace, probe=not lineage_only)
    call.out.show(found, lambda console: adapter_rendering.externalised(console, found))


@with_service
def proposals(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists what models should learn of a namespace, by what is used, with the reasons."""
    from memos_ray.cli.views import proposal_rendering

    found = call.memos.adapters.proposals(namespace)
    shown = {"proposals": [one.model_dump(mode="json") for one in found]}
    call.out.show(shown, lambda console: proposal_rendering.proposals(console, found))


@with_service
def accept(
    call: Call,
    id: _ProposalArgument,
    namespace: NamespaceOption = None,
    wait: _WaitOption = False,
) -> None:
    """Begins the lesson that is proposed."""
    lesson = call.memos.adapters.accept(id, namespace=namespace)
    _followed(call, lesson, namespace, wait)


@with_service
def refuse(call: Call, id: _ProposalArgument, namespace: NamespaceOption = None) -> None:
    """Has a proposal go; nothing like it is proposed again."""
    from memos_ray.cli.views import proposal_rendering

    found = call.memos.adapters.refuse(id, namespace=namespace)
    call.out.show(found, lambda console: proposal_rendering.proposals(console, [found]))


def _followed(call: Call, lesson: LessonReport, namespace: str | None, wait: bool) -> None:
    from memos_ray.cli.views import adapter_rendering

    if wait:
        with adapter_rendering.progress(call.out) as advance:
            lesson = call.memos.adapters.wait(lesson.id, namespace=namespace, progress=advance)
    call.out.show(lesson, lambda console: adapter_rendering.lesson(console, lesson))
