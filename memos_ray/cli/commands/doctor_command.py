"""`doctor`: tries everything that a cluster needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from memos_ray.cli.call import Call, with_folder
from memos_ray.cli.checks.finding import Finding, Grade, fail
from memos_ray.cli.exits import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from memos_ray.config import Settings


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(rich_help_panel="The cluster")(doctor)


@with_folder
def doctor(
    call: Call,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Only look; start neither Ray nor Milvus Lite, and do not read all memories.",
        ),
    ] = False,
) -> None:
    """Checks the machine, the data folder and every part, and says what to do about it.

    Leaves nothing behind and changes no data.
    """
    found: list[Finding] = []
    for check in _checks(call.settings, quick=quick):
        call.out.note(f"checking {check.__name__} …")
        found += _results(check)
    worst = max(found, key=lambda finding: list(Grade).index(finding.grade)).grade
    document = {"status": worst, "findings": [asdict(finding) for finding in found]}
    call.out.show(document, lambda console: _render(console, found))
    if worst is Grade.FAIL:
        raise typer.Exit(ExitCode.FAILED)


def _checks(settings: Settings, *, quick: bool) -> Iterator[Callable[[], Iterator[Finding]]]:
    from functools import partial

    from memos_ray.cli.checks import folder, machine, parts
    from memos_ray.cluster.announcement import running_cluster

    cluster = running_cluster(settings.data)

    def named(
        check: Callable[..., Iterator[Finding]], *arguments: object
    ) -> Callable[[], Iterator[Finding]]:
        bound = partial(check, *arguments)
        bound.__name__ = check.__name__.replace("_", " ")  # type: ignore[attr-defined]
        return bound

    yield named(machine.python)
    yield named(machine.packages, settings)
    yield named(machine.environment)
    yield named(machine.memory, settings)
    yield named(machine.limits)
    yield named(machine.disk, settings)
    yield named(folder.permissions, settings)
    yield named(folder.ray_token)
    yield named(folder.version, settings)
    yield named(folder.running, settings, cluster)
    yield named(parts.record_store, settings)
    yield named(parts.archive, settings)
    if quick:
        return
    yield named(parts.memories, settings)
    yield named(parts.embedder, settings)
    yield named(parts.vector_store, settings)
    yield named(parts.ray)


def _results(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Carries a check out; one that breaks is a finding, too."""
    try:
        return list(check())
    except Exception as error:
        name = getattr(check, "__name__", "check")
        return [fail(name, f"{type(error).__name__}: {error}", "please report this")]


def _render(console: Console, found: list[Finding]) -> None:
    from rich.text import Text

    from memos_ray.cli.views import rendering

    colour = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "red"}
    table = rendering.table("check", "", "found", "what to do")
    for finding in found:
        grade = Text(finding.grade, style=colour[finding.grade])
        table.add_row(Text(finding.check), grade, Text(finding.found), Text(finding.advice))
    console.print(table)
