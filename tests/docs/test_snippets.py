"""The Python in README and documents runs, as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.write_docs import DOCS

ROOT = DOCS.parent
_FENCE = re.compile(r"^```python( no-run)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def snippets(path: Path, *, runnable: bool) -> list[str]:
    """Returns the Python of a document."""
    return [code for mark, code in _FENCE.findall(path.read_text()) if runnable is not bool(mark)]


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda path: path.name
)
def test_snippets_compile(path: Path) -> None:
    for runnable in (True, False):
        for code in snippets(path, runnable=runnable):
            wrapped = "async def main():\n" + "".join(f"    {line}\n" for line in code.splitlines())
            compile(wrapped, path.name, "exec")


@pytest.mark.e2e
@pytest.mark.parametrize(
    "name", ["README.md", "docs/sdk.md", "docs/settings.md", "docs/comparison.md"]
)
def test_snippets_run(name: str, tmp_path: Path) -> None:
    program = "\n".join(snippets(ROOT / name, runnable=True))
    assert program
    (tmp_path / "snippets.py").write_text(program)
    run = subprocess.run(
        [sys.executable, "-P", "snippets.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert run.returncode == 0, run.stderr[-3000:]
