"""CONV-6, CUBE-3: what was learnt before lessons were told in the log is followed all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.gateway.memories.models import MemoryChange
from tests.unit.service.test_lesson_labels import HEALTH, becomes, label
from tests.unit.service.test_lessons import Bench, bench, tokenizer

__all__ = ["bench", "tokenizer"]


def as_before(folder: Path) -> None:
    """Makes records those of a program that told no lessons and has followed all of the log."""
    for file in (folder / "records").glob("p*.sqlite"):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DELETE FROM event WHERE operation = 'learn'")
            connection.execute(
                "DELETE FROM derivation WHERE kind IN ('made', 'extraction_caught_up')"
            )
            connection.execute(
                "UPDATE cursor SET lsn = (SELECT max(lsn) FROM event e"
                " WHERE e.partition = cursor.partition) WHERE name = 'extract'"
            )


async def reopened(bench: Bench) -> None:
    """Closes the data, has them be those of before, and opens them."""
    await bench.close()
    as_before(bench.folder)
    await bench.open()


async def test_it_gets_labels_that_came_meanwhile_and_later_ones(bench: Bench) -> None:
    lesson = await bench.learnt()
    for shard in bench.memos.crew.shards.values():
        for feed in shard._extraction._feeds.values():
            await feed.close()
    await label(bench, bench.ids[0])
    await reopened(bench)
    found = await becomes(bench, lesson.id, lambda one: bool(one.compliance))
    assert found.sensitivity == ["health"]
    await label(bench, bench.ids[1], MemoryChange(sensitivity=["home"]))
    await becomes(bench, lesson.id, lambda one: "home" in one.sensitivity)
    await bench.open()
    found = await bench.memos.service.get(bench.admin, lesson.id)
    assert (found.version, found.sensitivity) == (3, ["health", "home"])


async def test_frozen_it_gets_them_when_it_is_thawed(bench: Bench) -> None:
    lesson = await bench.learnt()
    await reopened(bench)
    await bench.memos.service.freeze(bench.admin, lesson.id)
    await label(bench, bench.ids[0], HEALTH)
    await bench.memos.service.freeze(bench.admin, lesson.id, frozen=False)
    await becomes(bench, lesson.id, lambda one: bool(one.compliance))
