"""The client without `await` is the asynchronous one, verb by verb."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from memos_ray import MemOS
from memos_ray.client import blocking
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.testing.http_door import http_door
from memos_ray.testing.models import QuotingModel
from scripts import write_sync

_TWINS = write_sync.mirrored()


def _twin(kind: type) -> type:
    home = "memos" if kind.__name__ == "AsyncMemOS" else kind.__module__.rpartition(".")[2]
    found = getattr(importlib.import_module(f"{write_sync.PACKAGE}.{home}"), _TWINS[kind])
    assert isinstance(found, type)
    return found


def _verbs(kind: type) -> dict[str, object]:
    return {name: one for name, one in inspect.getmembers(kind) if not name.startswith("_")}


def test_the_files_are_what_the_script_writes() -> None:
    found = {path.name: path.read_text() for path in write_sync.HOME.glob("*.py")}
    assert found == write_sync.modules(), "run `make docs`"


@pytest.mark.parametrize("kind", _TWINS, ids=_TWINS.get)
def test_every_verb_has_its_twin_with_the_same_parameters(kind: type) -> None:
    theirs, ours = _verbs(kind), _verbs(_twin(kind))
    assert ours.keys() == theirs.keys() - write_sync.ASYNC_ONLY
    for name, verb in ours.items():
        assert verb.__doc__ == theirs[name].__doc__, name
        assert not inspect.iscoroutinefunction(verb), name
        if not isinstance(verb, property):
            wanted = inspect.signature(theirs[name]).parameters.values()  # type: ignore[arg-type]
            had = inspect.signature(verb).parameters.values()  # type: ignore[arg-type]
            assert [(one.name, one.kind, one.default) for one in had] == [
                (one.name, one.kind, one.default) for one in wanted
            ], name


def test_every_asynchronous_class_of_verbs_is_reached() -> None:
    assert {kind.__name__ for kind in _TWINS} >= {"AsyncMemOS", "AsyncAdmin", "AsyncBranches"}


def test_nothing_else_is_synchronous_by_hand() -> None:
    written = set(Path(blocking.__file__).parent.rglob("*.py")) - set(write_sync.HOME.glob("*.py"))
    users = {path.name for path in written if "LoopThread" in path.read_text()}
    assert users == {"blocking.py", "loop_thread.py"}


@pytest.fixture
def memos(tmp_path: Path) -> Iterator[MemOS]:
    models = {"quoting": QuotingModel()}
    with (
        http_door(tmp_path, models) as door,
        MemOS(url=door.url, api_key=door.admin_key) as client,
    ):
        yield client


def test_views_and_twins_share_the_connection(memos: MemOS) -> None:
    stored = memos.add("Ana lives in Lima.").id or ""
    several = memos.add(["Bo lives in Rome.", "Cy lives in Oslo."])
    assert len(several.results) == 2
    view = memos.using(purpose="care")
    assert type(view) is MemOS
    assert view.get(stored).text == "Ana lives in Lima."
    other = memos.as_principal("user:bo")
    assert other.whoami().principal == "user:bo"
    with pytest.raises(NotFoundError):
        other.get(stored, namespace="org/absent")
    assert memos.admin.create_namespace("org/plan").id == "org/plan"
    assert memos.branches.list() == []
    view.close()
    assert memos.is_open and memos.get(stored).version == 1


def test_iterating_goes_page_by_page_and_may_end_early(memos: MemOS) -> None:
    memos.add([f"Note {number}." for number in range(7)])
    assert len({memory.id for memory in memos.iterate(limit=3)}) == 7
    assert len(list(islice(memos.iterate(limit=3), 2))) == 2
    texts = memos.iterate(limit=3)
    assert next(texts).text.startswith("Note")
    memos.close()
    with pytest.raises(InvalidInputError, match="closed"):
        list(texts)
