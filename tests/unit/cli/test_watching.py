"""Watching: the parts at work, and a memory through time."""

from __future__ import annotations

from typing import Any

from memos_ray.cli.exits import ExitCode


def test_a_memory_through_time(call: Any, memory: str) -> None:
    call(
        "update",
        memory,
        "It is on the stove",
        "--mode=overwrite",
        "--reason=moved",
        "--purpose=tidying",
    )
    call("freeze", memory)
    found = call("timeline", memory)
    told = [(one["what"], one["version"], one["outcome"]) for one in found["moments"]]
    assert told == [("create", 1, "done"), ("overwrite", 2, "done"), ("freeze", 3, "done")]
    moved = found["moments"][1]
    assert (moved["reason"], moved["purpose"]) == ("moved", "tidying")
    assert moved["request_id"]
    assert (found["sources"], found["made"]) == ([], [])


def test_people_see_it_as_a_table(run: Any, memory: str) -> None:
    shown = run("timeline", memory)
    assert shown.exit_code == ExitCode.DONE
    assert "create" in shown.stdout


def test_nobody_sees_the_time_of_a_hidden_memory(call: Any, memory: str) -> None:
    call("principal", "create", "agent:stranger")
    key = call("key", "create", "agent:stranger")["secret"]
    call("timeline", memory, key=key, code=ExitCode.NOT_FOUND)


def test_the_parts_at_work(run: Any, call: Any, memory: str) -> None:
    document = call("top")
    shard = next(one for one in document["components"] if one["name"] == "shard-0")
    assert shard["detail"]["writes"] >= 1
    assert {"queued", "lag", "index_lag", "extraction_queued"} <= shard["detail"].keys()
    shown = run("top", "--looks=2", "--interval=0.1")
    assert shown.exit_code == ExitCode.DONE
    assert "shard-0" in shown.stdout
    assert "writes 0.0" in shown.stdout
