"""Every `memos-ray` line in the README and the documentation is a command that can be given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memos_ray.cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


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
