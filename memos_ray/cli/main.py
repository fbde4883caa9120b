"""The application: all commands, and what happens before and after each."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from memos_ray import __version__
from memos_ray.cli.commands import (
    adapter_commands,
    admin_commands,
    branch_commands,
    chat_command,
    cluster_commands,
    doctor_command,
    evolve_commands,
    extraction_commands,
    finding_commands,
    ingest_command,
    kv_commands,
    lifecycle_commands,
    memory_commands,
    organise_commands,
    past_commands,
    persona_commands,
    pipeline_commands,
    provenance_command,
    receipt_command,
    reuse_command,
    source_commands,
    topic_commands,
    understand_command,
    watching_commands,
)
from memos_ray.cli.exits import ExitCode, exit_code_of
from memos_ray.cli.output import Output
from memos_ray.core.defects import describe_defect
from memos_ray.errors import InternalError, InvalidInputError

app = typer.Typer(
    name="memos-ray",
    no_args_is_help=True,
    rich_markup_mode="rich",
    # Locals in a traceback could show a key or a memory.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"memos-ray {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Memory for agents: durable, governed, searchable.

    Commands use the cluster that runs on the data folder, unless --url or --address names another
    service. Exit codes and all options are in docs/cli.md.
    """


for commands in (
    cluster_commands,
    doctor_command,
    memory_commands,
    ingest_command,
    extraction_commands,
    finding_commands,
    understand_command,
    watching_commands,
    reuse_command,
    provenance_command,
    receipt_command,
    evolve_commands,
    organise_commands,
    topic_commands,
    chat_command,
    kv_commands,
    lifecycle_commands,
    past_commands,
    branch_commands,
    adapter_commands,
    pipeline_commands,
    persona_commands,
    source_commands,
    admin_commands,
):
    commands.register(app)


def main() -> None:
    """Runs the command line of this process."""
    as_json = "--json" in sys.argv
    _write_any_text(as_json)
    try:
        _run(as_json)
    except Exception as error:
        # Its message may quote what somebody remembered.
        defect = InternalError("an unexpected failure; please report it", at=describe_defect(error))
        Output(as_json).fail(defect)
        sys.exit(exit_code_of(defect))


def _write_any_text(as_json: bool) -> None:
    """Has what is written fit the terminal's encoding; JSON is UTF-8 (RFC 8259)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8" if as_json else None, errors="backslashreplace")


def _run(as_json: bool) -> None:
    if not as_json:
        app(prog_name="memos-ray")
        return
    try:
        sys.exit(app(prog_name="memos-ray", standalone_mode=False))
    except typer.TyperException as error:
        # A program that asked for JSON gets its usage error as a problem, too.
        Output(as_json=True).fail(InvalidInputError(error.format_message()))
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(ExitCode.INTERRUPTED)
