"""What the actors count is what is described, and the other way round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import memos_ray
from memos_ray.core.counts import ACTIONS, PIPELINE_COUNTS, SHARD_COUNTS, known
from memos_ray.gateway.metrics import HttpMetrics

ACTORS = Path(memos_ray.__file__).parent / "actors"


def counted(path: Path) -> Iterator[str]:
    """The names that a module counts under; of a made-up one its beginning, with a star."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Subscript):
            continue
        held = node.value
        if not isinstance(held, ast.Attribute) or held.attr not in (
            "counters",
            "_counters",
            "_counts",
        ):
            continue
        names = [node.slice]
        if isinstance(node.slice, ast.IfExp):
            names = [node.slice.body, node.slice.orelse]
        for name in names:
            if isinstance(name, ast.Constant):
                yield str(name.value)
            elif isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
                yield f"{name.values[0].value!s}*"
            else:
                raise AssertionError(f"{path.name} counts under a name that cannot be read")


def test_every_count_is_described_and_every_description_counts() -> None:
    found = {path: set(counted(path)) for path in ACTORS.rglob("*.py")}
    runner = ACTORS / "pipelines" / "pipelines.py"
    pipelines = found.pop(runner)
    shards = set[str]().union(*found.values())
    for names, described in ((pipelines, PIPELINE_COUNTS), (shards, SHARD_COUNTS)):
        assert {name for name in names if not known(name, described)} == set()
        assert names
        unused = {name for name in described if not any(known(one, {name: ""}) for one in names)}
        assert unused == set()


def test_what_happens_unasked_is_counted_and_on_the_board() -> None:
    exported = HttpMetrics().render({}).decode()
    counts = {**SHARD_COUNTS, **PIPELINE_COUNTS}
    for action in ACTIONS:
        assert action.counts and action.told and action.why
        for name in action.counts:
            assert name in counts or f"# TYPE {name} " in exported, name
    board = (Path(memos_ray.__file__).parents[1] / "deployments/grafana/memos.json").read_text()
    assert "memos_shard_count" in board and "memos_pipeline_count" in board
