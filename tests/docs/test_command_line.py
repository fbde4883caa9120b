"""`docs/cli.md` has every command, argument, option and exit code, and nothing else; every
`memos-ray` line in the documentation is a command that can be given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from memos_ray.cli.exits import ExitCode
from memos_ray.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = (ROOT / "docs" / "cli.md").read_text()
SHARED, _, COMMANDS = TEXT.partition("\n## Commands\n")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


ALL = dict(commands(get_command(app)))


def sections() -> dict[str, str]:
    """Returns the text under each command's heading."""
    parts = re.split(r"^### `memos-ray ([^`]*)`$", COMMANDS, flags=re.MULTILINE)
    found = {}
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        name = " ".join(word for word in heading.split() if word.islower())
        found[name] = heading + body
    return found


def options(command: Any) -> set[str]:
    return {
        name
        for one in command.params
        if one.param_type_name == "option" and not one.hidden
        for name in (*one.opts, *one.secondary_opts)
    } - {"--help", "-h"}


def test_every_command_is_documented_and_no_other() -> None:
    assert set(sections()) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_documented_and_no_other(name: str) -> None:
    documented = set(re.findall(r"`(--?[a-z-]+)`", sections()[name]))
    shared = set(re.findall(r"`(--[a-z-]+)`", SHARED))
    wanted = options(ALL[name])
    assert wanted <= documented | shared
    assert documented <= wanted


@pytest.mark.parametrize("name", ALL)
def test_every_argument_is_documented(name: str) -> None:
    arguments = [one for one in ALL[name].params if one.param_type_name == "argument"]
    section = sections()[name]
    for argument in arguments:
        shown = (argument.metavar or argument.name).strip("{}[]").upper()
        assert f"`{shown}`" in section
        assert f"| {argument.help}" in section


def test_every_exit_code_is_documented() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", SHARED, flags=re.MULTILINE))
    assert rows == {str(int(code)): code.meaning for code in ExitCode}


def lines() -> list[str]:
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            found += [line for line in block.splitlines() if line.startswith("memos-ray ")]
    return sorted(set(found))


@pytest.mark.parametrize("line", lines())
def test_an_example_can_be_given(line: str) -> None:
    # All options and arguments are looked at before help is given; nothing is carried out.
    arguments = shlex.split(line, comments=True)[1:]
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0, result.output


def test_there_are_examples() -> None:
    assert len(lines()) >= 8
