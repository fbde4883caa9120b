"""Commands on trusted sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memos_ray.cli.exits import ExitCode


def test_APP_3_sources_on_the_command_line(call: Any, run: Any, tmp_path: Path) -> None:
    held = call("add", "The blood pressure target for adults is below 150 mmHg.")["id"]
    file = tmp_path / "board.md"
    file.write_text("## Targets\nThe blood pressure target for adults is below 130 mmHg.\n")
    where = ("--name", "Hypertension", "--issuer", "The Board", "--valid-from", "2026-01-01")
    added = call("source", "add", str(file), *where, "--trust", "80")
    assert (added["stage"], added["sections"]) == ("ready", 1)
    assert "Hypertension, The Board, from 2026-01-01, trust 80" in run("source", "ls").stdout
    (one,) = call("source", "review", "--source", added["id"])["findings"]
    assert (one["held"], one["kind"]) == (held, "contradicted")
    shown = run("source", "review").stdout
    assert "150 \u2192 130" in shown and "below 130 mmHg" in shown
    done = call("source", "accept", one["id"])
    assert done["results"][0]["finding"]["state"] == "accepted"
    assert call("get", held)["valid_to"] is not None
    assert "decided by user:admin" in run("source", "review", "--decided").stdout
    call("source", "refuse", one["id"], code=ExitCode.PARTLY)
    assert call("source", "accept", "--source", added["id"])["results"] == []


def test_APP_2_reuse_on_the_command_line(call: Any, run: Any) -> None:
    assert call("reuse", "paint the fence") == {"tasks": [], "offers": [], "partial": False}
    call("add", "The fence is green.", "--purpose", "painting")
    assert run("reuse", "paint the fence", "--purpose", "gardening").exit_code == ExitCode.DONE
    call("reuse", "", code=ExitCode.INVALID)
