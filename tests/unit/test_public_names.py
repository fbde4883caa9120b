"""`memos_ray.__all__` is what the package exports: complete, sorted, and really there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import memos_ray


def test_every_name_is_there_and_none_besides() -> None:
    assert sorted(set(memos_ray.__all__)) == memos_ray.__all__
    for name in memos_ray.__all__:
        found = getattr(memos_ray, name)
        assert name == "__version__" or found.__name__ == name
    public = {name for name in dir(memos_ray) if not name.startswith("_")}
    modules = {name for name in public if type(getattr(memos_ray, name)) is type(ast)}
    ours = set(memos_ray.__all__) - {"__version__"}
    assert public - modules - {"annotations", "import_module", "TYPE_CHECKING"} == ours


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(memos_ray.__file__ or "").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (alias.name, node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    ours = set(memos_ray.__all__) - {"__version__"}
    assert {name for name, _ in seen} == ours
    for name, module in seen:
        assert getattr(sys.modules[module or ""], name) is getattr(memos_ray, name)


def test_every_error_is_exported() -> None:
    from memos_ray.errors import all_errors

    assert {cls.__name__ for cls in all_errors()} <= set(memos_ray.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    try:
        memos_ray.Walrus  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        assert "Walrus" in str(error)
    else:
        raise AssertionError("it was found")


def test_importing_the_package_loads_next_to_nothing() -> None:
    heavy = "[name for name in ('ray', 'pydantic', 'numpy') if name in sys.modules]"
    code = f"import sys, memos_ray; print({heavy})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
