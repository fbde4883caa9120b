"""CUBE-4: what the ledger gathers between two flushes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.metadata import Usage
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.scheduling.conversations import GivenMemory
from memos_ray.core.vault.log import ANSWER, CubeKey
from memos_ray.core.vault.usage import add
from memos_ray.testing.cubes import START, make_cube

CONTEXT = CallContext(Principal("acme", "user:ann"), purpose="support", request_id="r-1")


def test_CUBE_4_an_adapter_is_used_like_a_text() -> None:
    ledger = UsageLedger()
    ledger.used(1, CONTEXT, "chat", "notes", "adapter-1", START)
    ledger.used(1, CONTEXT, "export", "notes", "adapter-1", START)
    (delta,), accesses = ledger.drain(1)
    assert (delta.key, delta.count) == (CubeKey("acme", "adapter-1"), 2)
    assert (delta.tasks, delta.agents) == (("support",), ("user:ann",))
    assert [(one.operation, one.cube_id) for one in accesses] == [
        ("chat", "adapter-1"),
        ("export", "adapter-1"),
    ]
    assert ledger.drain(1) == ([], [])


def test_CUBE_4_feedback_is_no_read() -> None:
    ledger = UsageLedger()
    cube = make_cube(id="m")
    ledger.found(1, CubeKey("acme", "m"), -1.0, START)
    ledger.noted(1, CONTEXT, cube, START, {"value": -1.0})
    (delta,), (access,) = ledger.drain(1)
    assert (delta.count, delta.usefulness) == (0, -1.0)
    assert (access.operation, access.cube_id, access.version) == ("feedback", "m", 1)
    before = Usage(access_count=3, last_access_at=START - timedelta(days=9), frequency=2.0)
    assert add(before, delta) == replace(before, usefulness=-1.0)


def test_API_3_an_answer_has_an_entry_for_each_memory() -> None:
    ledger = UsageLedger()
    given = tuple(GivenMemory(f"m{n}", n + 1, "notes", "activation", 7) for n in range(3))
    answered = AnsweredPrompt(
        CONTEXT, "notes", "tiny", (), "a", "b", response="answer-1", given=given
    )
    ledger.answered(1, answered, START)
    deltas, accesses = ledger.drain(1)
    # They were counted when they were read.
    assert deltas == []
    assert [(one.operation, one.cube_id, one.version) for one in accesses] == [
        (ANSWER, f"m{n}", n + 1) for n in range(3)
    ]
    assert {one.request_id for one in accesses} == {"answer-1"}
    assert accesses[0].detail["form"] == "activation" and accesses[0].detail["request"] == "r-1"
