"""PIPE-1 at the command line: a real service behind a real socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memos_ray.cli.exits import ExitCode

_PIPELINE = """
name: greet
parameters:
  who: {}
steps:
  - {id: text, kind: augment, template: "Hello, {params.who}."}
  - {id: note, kind: create, text: "{text.text}", tags: [greeting]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "greet.yaml"
    path.write_text(_PIPELINE)
    return str(path)


def test_PIPE_1_a_pipeline_from_its_file_to_its_effects(call: Any, run: Any, file: str) -> None:
    assert call("pipeline", "validate", file)["order"] == ["text", "note"]
    done = call("pipeline", "run", file, "--param", "who=Ana", "--wait")
    assert done["state"] == "done", done
    (effect,) = done["steps"][1]["effects"]
    assert call("get", effect["memory_id"])["text"] == "Hello, Ana."
    assert call("pipeline", "status", done["id"])["id"] == done["id"]
    assert call("pipeline", "cancel", done["id"])["state"] == "done"
    assert done["id"] in {one["id"] for one in call("pipeline", "ls")["runs"]}
    shown = run("pipeline", "status", done["id"])
    assert "create" in shown.output and "done" in shown.output


def test_PIPE_1_a_kept_pipeline_runs_by_its_name(call: Any, run: Any, file: str) -> None:
    version = call("pipeline", "keep", file)["version"]
    (kept,) = call("pipeline", "templates")["pipelines"]
    assert (kept["name"], kept["version"]) == ("greet", version)
    assert "greet" in run("pipeline", "templates").output
    key = ("--idempotency-key", "once")
    first = call("pipeline", "run", "greet", "-p", "who=Ben", *key, "--wait")
    again = call("pipeline", "run", "greet", "-p", "who=Ben", *key, "--wait")
    assert first == again and first["state"] == "done"


def test_PIPE_1_what_is_no_pipeline_is_refused(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    for text in ("name: [", "name: x", "- a", _PIPELINE.replace("params.who", "params.nobody")):
        path.write_text(text)
        problem = call("pipeline", "validate", str(path), code=ExitCode.INVALID)
        assert problem["code"] == "invalid_input"
    problem = call("pipeline", "run", str(tmp_path / "none.yaml"), code=ExitCode.NOT_FOUND)
    assert problem["code"] == "not_found"
    call("pipeline", "status", "0" * 32, code=ExitCode.NOT_FOUND)
