"""Errors: a problem document for programs, a line for people, and an exit code for scripts."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memos_ray.cli.exits import ExitCode, exit_code_of
from memos_ray.cli.main import app, main
from memos_ray.cli.output import Output
from memos_ray.errors import (
    ClientError,
    ConfigurationError,
    DataFolderInUseError,
    InternalError,
    MemosError,
    ServerError,
    StoreFullError,
    all_errors,
)
from memos_ray.gateway.problem_model import Problem
from memos_ray.testing.processes import free_port

HEAVY = ("ray", "torch", "numpy", "pyarrow", "fastapi", "httpx", "sqlalchemy")


def test_every_error_has_an_exit_code_that_is_not_success() -> None:
    codes = {kind: exit_code_of(kind("x")) for kind in all_errors()}
    assert ExitCode.DONE not in codes.values()
    vague = {kind for kind, code in codes.items() if code is ExitCode.FAILED}
    assert vague == {MemosError, ClientError, ServerError, InternalError}
    assert codes[StoreFullError] is ExitCode.STORE
    assert codes[ConfigurationError] is ExitCode.CONFIGURATION
    assert codes[DataFolderInUseError] is ExitCode.IN_USE


def test_an_error_is_a_problem_document(call: Any) -> None:
    problem = Problem.model_validate(call("get", "00-none", code=ExitCode.NOT_FOUND))
    assert problem.status == 404
    problem = Problem.model_validate(call("list", "--filter=and and", code=ExitCode.INVALID))
    assert problem.code == "invalid_filter"


def test_people_get_a_line(run: Any) -> None:
    result = run("get", "00-none")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert result.stdout == ""
    assert "not_found" in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_key_is_refused(call: Any) -> None:
    assert call("whoami", key="mk_x", code=ExitCode.REFUSED)["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", "--json"],
        ["nonsense", "--json"],
        ["search", "x", "--since=yesterday", "--json"],
        ["add", "x", "--type=poem", "--json"],
        ["list", "--limit=0", "--json"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_usage_error_is_a_problem_for_programs(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memos-ray", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == ExitCode.INVALID
    out, err = capsys.readouterr()
    assert out == ""
    assert Problem.model_validate_json(err).code == "invalid_input"


def test_a_command_without_json_reports_usage_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memos-ray", "get"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == ExitCode.INVALID
    assert "Missing argument" in capsys.readouterr().err


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEMOS_CLIENT__ATTEMPTS", "1")
    where = ["--url", f"http://127.0.0.1:{free_port()}", "--api-key", "x"]
    result = CliRunner().invoke(app, ["list", *where, "--json"])
    assert result.exit_code == ExitCode.UNAVAILABLE
    result = CliRunner().invoke(app, ["list", "--data", str(tmp_path), "--json"])
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "memos-ray up" in json.loads(result.stderr)["detail"]


def test_a_named_folder_goes_before_a_configured_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEMOS_CLIENT__URL", "http://127.0.0.1:1")
    result = CliRunner().invoke(app, ["list", "--data", str(tmp_path), "--json"])
    assert json.loads(result.stderr)["details"] == {"data": str(tmp_path)}


def test_two_places_are_one_too_many(tmp_path: Path) -> None:
    where = ["--url", "http://127.0.0.1:1", "--data", str(tmp_path)]
    result = CliRunner().invoke(app, ["list", *where, "--json"])
    assert result.exit_code == ExitCode.INVALID


def test_settings_that_are_not_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_GATEWAY__PORT", "none")
    result = CliRunner().invoke(app, ["status", "--json"])
    assert result.exit_code == ExitCode.CONFIGURATION


def test_what_does_not_fit_is_told_line_by_line(run: Any) -> None:
    shown = run("add", " ", "--id=a/b").stderr.splitlines()
    assert shown[0] == "error invalid_input the request is not valid"
    assert [line.split(":")[0] for line in shown[1:]] == ["  text", "  id"]


def test_a_defect_quotes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("the walrus")

    monkeypatch.setattr(sys, "argv", ["memos-ray", "doctor", "--quick"])
    monkeypatch.setattr(Output, "show", fail)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == ExitCode.FAILED
    told = capsys.readouterr().err
    assert "internal" in told and "KeyError" in told
    assert "walrus" not in told and "Traceback" not in told


def test_an_output_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(ClientError) as told:
            Output(as_json=True).show({"a": 1}, lambda _: None)
        full.flush()
    assert told.value.details == {"reason": "No space left on device"}


@pytest.mark.parametrize(("flags", "shown"), [([], b"\\u2026"), (["--json"], "…".encode())])
def test_any_text_can_be_written(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], shown: bytes
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["memos-ray", "key", "nothing…", *flags])
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(SystemExit):
        main()
    sys.stderr.flush()
    assert shown in written.getvalue()


def test_help_loads_nothing_heavy() -> None:
    program = f"""
import sys
from typer.testing import CliRunner
from memos_ray.cli.main import app
for arguments in (["--help"], ["search", "--help"], ["up", "--help"], ["--version"]):
    assert CliRunner().invoke(app, arguments).exit_code == 0
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
