"""Commands on personas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memos_ray.cli.exits import ExitCode


def test_APP_4_personas_on_the_command_line(
    call: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "doctor.yaml"
    template.write_text("name: doctor\npurpose: care\n")
    made = call("persona", "create", "doctor", "--template", str(template), "--tag", "work")
    assert (made["stream"], made["tags"]) == ("user:admin/doctor", ["work"])
    call("persona", "create", "parent", "--half-life-days", "2", "--creates", "{home}/family")
    call("add", "Tim's school begins at eight", "-n", "user:admin/family")
    stored = call("add", "Mr Moss has a weak heart", "--as-role", "doctor")["id"]
    assert call("get", stored, "--as-role", "doctor")["namespace"] == "user:admin/doctor"
    assert call("get", stored, "--as-role", "parent", code=ExitCode.NOT_FOUND)
    line = run("persona", "use", "doctor").stdout.strip()
    assert line == "export MEMOS_CLIENT__ROLE=doctor"
    monkeypatch.setenv("MEMOS_CLIENT__ROLE", "doctor")
    assert call("get", stored)["id"] == stored
    listed = run("persona", "ls").stdout
    assert "* doctor" in listed and "  parent" in listed
    assert call("persona", "delete", "doctor")["retired"]
    monkeypatch.delenv("MEMOS_CLIENT__ROLE")
    assert call("get", stored, code=ExitCode.NOT_FOUND)
    assert "half-life 2 days" in run("persona", "show", "parent").stdout
    assert call("persona", "show", "nobody", code=ExitCode.NOT_FOUND)
