"""The command line against a real service in this process, through a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from memos_ray.cli.exits import ExitCode
from memos_ray.cli.main import app
from memos_ray.testing.http_door import HttpDoor, http_door

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    with http_door(tmp_path_factory.mktemp("door")) as opened:
        yield opened


@pytest.fixture(scope="module")
def run(door: HttpDoor) -> Callable[..., Result]:
    """Runs a command as the administrator; `key` is another credential."""

    def invoke(*arguments: str, key: str | None = None, stdin: bytes | None = None) -> Result:
        where = ["--url", door.url, "--api-key", key or door.admin_key]
        result = CliRunner().invoke(app, [*arguments, *where], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture(scope="module")
def call(run: Callable[..., Result]) -> Command:
    """Runs a command with `--json`; returns its document, or its problem when it is to fail."""

    def invoke(*arguments: str, code: ExitCode = ExitCode.DONE, **more: Any) -> Any:
        result = run(*arguments, "--json", **more)
        assert result.exit_code == code, result.output
        if code in (ExitCode.DONE, ExitCode.PARTLY):
            assert result.stderr == ""
            return json.loads(result.stdout)
        assert result.stdout == "", "an error leaves standard output empty"
        return json.loads(result.stderr)

    return invoke


@pytest.fixture
def memory(call: Command) -> str:
    """A new memory's id."""
    return str(call("add", "The kettle is in the left cupboard")["id"])
