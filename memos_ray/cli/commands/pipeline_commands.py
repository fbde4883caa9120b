"""Pipelines and their runs: the commands of `memos-ray pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.exits import ExitCode
from memos_ray.cli.values import IdempotencyOption, NamespaceOption, attributes_of

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.pipelines.models import RunReport

_RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]
_FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A pipeline in YAML.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="Memory pipelines and their runs.")
    group.command("ls")(list_runs)
    for command in (run, status, cancel, validate, keep, templates):
        group.command()(command)
    app.add_typer(group, name="pipeline", rich_help_panel="Memories")


@with_service
def run(
    call: Call,
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="A YAML file, or the name of a kept one.")
    ],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; repeatable."),
    ] = None,
    namespace: NamespaceOption = None,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Which kept version; the newest.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until the run has ended.")] = False,
    idempotency_key: IdempotencyOption = None,
) -> None:
    """Begins a run of a pipeline."""
    is_file = pipeline.endswith((".yaml", ".yml"))
    begun = call.memos.pipelines.run(
        Path(pipeline) if is_file else pipeline,
        params=attributes_of(param),
        namespace=namespace,
        version=version,
        idempotency_key=idempotency_key,
    )
    report = call.memos.pipelines.wait(begun.id) if wait else begun
    call.out.show(report, lambda console: _shown(console, report))


@with_service
def status(call: Call, id: _RunArgument) -> None:
    """Shows a run, step by step."""
    report = call.memos.pipelines.status(id)
    call.out.show(report, lambda console: _shown(console, report))


@with_service
def cancel(call: Call, id: _RunArgument) -> None:
    """Ends a run before it commits."""
    report = call.memos.pipelines.cancel(id)
    call.out.show(report, lambda console: _shown(console, report))


@with_service
def list_runs(call: Call) -> None:
    """Lists your runs, newest first."""
    found = call.memos.pipelines.list()

    def table(console: Console) -> None:
        for one in found:
            console.print(f"{one.id}  {one.state.value:<12} {one.pipeline}", markup=False)

    call.out.show({"runs": [one.model_dump(mode="json") for one in found]}, table)


@with_service
def validate(call: Call, file: _FileArgument) -> None:
    """Says whether a pipeline is sound, and what a run of yours would fail of."""
    found = call.memos.pipelines.validate(file)

    def table(console: Console) -> None:
        console.print(" → ".join(found.order), markup=False)
        for problem in found.problems:
            console.print(problem, markup=False)

    call.out.show(found, table)
    if found.problems:
        raise typer.Exit(ExitCode.INVALID)


@with_service
def keep(call: Call, file: _FileArgument, namespace: NamespaceOption = None) -> None:
    """Stores a new version of a pipeline under its name."""
    kept = call.memos.pipelines.keep(file, namespace=namespace)
    call.out.show(
        kept, lambda console: console.print(f"{kept.name}, version {kept.version}", markup=False)
    )


@with_service
def templates(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists the pipelines that a namespace keeps."""
    found = call.memos.pipelines.templates(namespace)

    def table(console: Console) -> None:
        for one in found:
            wanted = ", ".join(one.definition.parameters)
            console.print(f"{one.name}  version {one.version}  ({wanted})", markup=False)

    call.out.show({"pipelines": [one.model_dump(mode="json") for one in found]}, table)


def _shown(console: Console, report: RunReport) -> None:
    reason = f": {report.message} ({report.reason})" if report.reason else ""
    console.print(f"{report.id}  {report.pipeline}  {report.state.value}{reason}", markup=False)
    for step in report.steps:
        notes = f"  {step.error}" if step.error else ""
        if step.rewritten:
            notes += f"  queries completed: {step.rewritten}"
        console.print(f"  {step.id:<20} {step.kind:<9} {step.state.value}{notes}", markup=False)
        for effect in step.effects:
            made = "" if effect.version is None else f"  version {effect.version}"
            undone = "  undone" if effect.undone else ""
            line = f"    {effect.kind.value} {effect.memory_id}{made}{undone}"
            console.print(line, markup=False)
