"""Extraction by a model: `memos-ray extraction status|parked|retry|automatic`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_service
from memos_ray.cli.values import NamespaceOption

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.gateway.extraction.models import ExtractionJob, ExtractionStatus


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(no_args_is_help=True, help="What a model extracts from memories.")
    for command in (status, parked, retry, automatic):
        group.command()(command)
    app.add_typer(group, name="extraction", rich_help_panel="Memories")


@with_service
def status(call: Call, namespace: NamespaceOption = None) -> None:
    """Shows what was extracted, what waits and what was parked."""
    found = call.memos.extraction.status(namespace)
    call.out.show(found, lambda console: _status(console, found))


@with_service
def parked(call: Call, namespace: NamespaceOption = None) -> None:
    """Lists jobs that were given up, and why."""
    found = call.memos.extraction.status(namespace)
    jobs = [job for job in found.jobs if job.state in ("parked", "aside")]
    shown = found.model_copy(update={"jobs": jobs})
    call.out.show(shown, lambda console: _jobs(console, jobs))


@with_service
def retry(
    call: Call,
    job: Annotated[
        str | None, typer.Argument(metavar="ID", help="A parked job; all when absent.")
    ] = None,
    namespace: NamespaceOption = None,
) -> None:
    """Has a parked job tried again, or all of yours."""
    found = call.memos.extraction.retry(job, namespace=namespace)
    call.out.show(found, lambda console: console.print(f"{found.retried} tried again."))


@with_service
def automatic(
    call: Call,
    namespace: NamespaceOption = None,
    off: Annotated[bool, typer.Option("--off", help="Only what is marked.")] = False,
) -> None:
    """Has a model read all that is stored from now on."""
    found = call.memos.extraction.automate(not off, namespace=namespace)
    call.out.show(found, lambda console: _status(console, found))


def _status(console: Console, found: ExtractionStatus) -> None:
    model = found.model or "No model"
    console.print(
        f"{model}: {found.queued} jobs queued, {found.running} running, {found.parked} parked, "
        f"{found.done} done."
    )
    if found.automatic:
        console.print("All that is stored here is read.")
    refused = ", ".join(f"{count} {why}" for why, count in sorted(found.refused.items()))
    console.print(
        f"{found.read} memories read, {found.memories} made, {found.tokens} tokens."
        + (f" Not taken: {refused}." if refused else "")
    )
    for one in found.sources:
        waiting = one.queued + one.running
        text = f"{one.source or '-'}: {one.read} read, {waiting} waiting, {one.parked} parked, "
        console.print(f"  {text}{one.memories} made", markup=False)
    _jobs(console, [job for job in found.jobs if job.reason])


def _jobs(console: Console, jobs: list[ExtractionJob]) -> None:
    for job in jobs:
        tries = f"{len(job.memory_ids)} memories, {job.attempts} tries"
        line = f"{job.id}  {job.state}: {job.reason}, {tries}, {job.source or '-'}"
        console.print(line, markup=False)
