"""Questions in a dialogue, on the command line (READ-2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memos_ray.cli.exits import ExitCode


@pytest.fixture
def said(tmp_path: Path) -> str:
    file = tmp_path / "turns.json"
    turns = [
        {"role": "user", "content": "Where does Clara live?"},
        {"role": "assistant", "content": "In Lisbon."},
    ]
    file.write_text(json.dumps(turns))
    return str(file)


def test_READ_2_understand_shows_the_rewriting(call: Any, run: Any, said: str) -> None:
    found = call("understand", "What does she do there?", "--turns", said)
    assert found["question"] == "What does Clara do in Lisbon?"
    shown = run("understand", "What does she do there?", "--turns", said).stdout
    assert "What does Clara do in Lisbon?" in shown and "she -> Clara" in shown
    assert call("understand", "Where does Bo live?")["question"] == "Where does Bo live?"


def test_READ_2_a_search_takes_turns(call: Any, said: str) -> None:
    call("add", "Clara teaches in Lisbon.")
    found = call("search", "What does she do there?", "--turns", said, "--explain")
    assert found["understood"]["question"] == "What does Clara do in Lisbon?"


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_READ_2_turns_that_cannot_be_read(call: Any, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "bad.json"
    if content is not None:
        file.write_text(content)
    refused = call("understand", "Why?", "--turns", str(file), code=ExitCode.INVALID)
    assert refused["code"] == "invalid_input"
