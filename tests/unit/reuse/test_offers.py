"""How offers are ranked (APP-2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.fingerprint import Fingerprint, simhash
from memos_ray.core.cube.metadata import Usage
from memos_ray.core.cube.payload import Plaintext
from memos_ray.core.reuse import ReuseTask, offers
from memos_ray.testing.cubes import make_cube

AT = datetime(2026, 3, 4, tzinfo=UTC)


def cube(id: str, text: str, *tasks: str, **usage: Any) -> MemCube:
    counted = Usage(last_access_at=AT, tasks=tasks, **{"access_count": 1, **usage})
    made = make_cube()
    return replace(
        made, id=id, payload=Plaintext(text), fingerprint=Fingerprint(simhash(text)), usage=counted
    )


def task(text: str, purpose: str | None = None) -> ReuseTask:
    return ReuseTask(text, purpose, Fingerprint(simhash(text)))


def test_APP_2_feedback_weighs_more_than_use_and_blame_excludes() -> None:
    used = [
        cube("often", "tea is hot", "weekly-report", access_count=20),
        cube("praised", "coffee is hot", "weekly-report", access_count=5, usefulness=3.0),
        cube("blamed", "soup is hot", "weekly-report", access_count=90, usefulness=-1.0),
    ]
    found = offers(task("write the weekly report"), used, 10)
    assert [one.cube.id for one in found.offers] == ["praised", "often"]
    assert any("useful: +3" in reason for reason in found.offers[0].reasons)
    assert [one.cube.id for one in offers(task("the weekly report"), used, 1).offers] == ["praised"]


def test_APP_2_a_memory_of_two_alike_tasks_comes_first() -> None:
    used = [
        cube("both", "tea is hot", "weekly-report", "monthly-report"),
        cube("one", "coffee is hot", "weekly-report"),
        cube("none", "bread is warm", "baking"),
    ]
    found = offers(task("write the weekly report"), used, 10)
    assert [one.cube.id for one in found.offers] == ["both", "one"]
    assert {one.name for one in found.tasks} == {"weekly-report", "monthly-report"}
    assert found.tasks[0].name == "weekly-report"


def test_APP_2_what_the_own_task_has_used_is_offered_for_others_sake_only() -> None:
    used = [
        cube("mine", "tea is hot", "weekly-report"),
        cube("ours", "coffee is hot", "weekly-report", "monthly-report"),
    ]
    found = offers(task("the report", "weekly-report"), used, 10)
    assert [one.cube.id for one in found.offers] == ["ours"]
    assert offers(task("x"), [], 5).offers == ()
