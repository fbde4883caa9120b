"""Commands on the life and the past of memories; they pass SDK and REST on their way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from memos_ray.cli.exits import ExitCode


def test_LIFE_1_a_memory_is_put_away_and_brought_back(call: Any, memory: str) -> None:
    assert call("lifecycle", "archive", memory, "--reason", "seldom wanted")["version"] == 2
    assert call("get", memory)["state"] == "archived"
    problem = call("lifecycle", "archive", memory, code=ExitCode.CONFLICT)
    assert problem["code"] == "illegal_state"
    call("restore", memory)
    assert call("get", memory)["state"] == "activated"


def test_CUBE_3_a_memory_is_held_and_released(call: Any, memory: str) -> None:
    assert call("lifecycle", "hold", memory, "--reason", "case 7")["version"] == 2
    assert call("get", memory)["legal_hold"] is True
    problem = call("delete", memory, "--hard", code=ExitCode.CONFLICT)
    assert problem["code"] == "legal_hold"
    assert call("lifecycle", "release", memory)["version"] == 3
    assert call("get", memory)["legal_hold"] is False


def test_LIFE_2_sweeps_are_started_and_shown(call: Any, run: Any, memory: str) -> None:
    swept = call("lifecycle", "sweep")
    assert swept["seen"] > 0 and swept["finished_at"]
    assert call("lifecycle", "status") == swept
    shown = run("lifecycle", "status").stdout
    assert "last sweep" in shown and str(swept["seen"]) in shown


def test_LIFE_3_a_namespace_is_looked_at_compared_and_taken_back(
    call: Any, run: Any, memory: str
) -> None:
    before = call("past", "snapshot", "first", "--reason", "to be safe")
    assert before["name"] == "first"
    call("update", memory, "The kettle is on the stove")
    added = call("add", "The cups are new")["id"]
    then = call("past", "get", memory, "--at", "first")
    assert then["text"] == "The kettle is in the left cupboard"
    assert then == call("past", "get", memory, "--at", before["at"])
    listed = call("past", "list", "--at", "first", "--limit", "1000")["memories"]
    assert memory in {one["id"] for one in listed}
    assert added not in {one["id"] for one in listed}
    history = call("past", "history", memory, "--at", "first")
    assert [one["number"] for one in history["versions"]] == [1]
    diff = call("past", "diff", "--since", "first")
    kinds = {one["id"]: one["kind"] for one in diff["memories"]}
    assert kinds == {memory: "changed", added: "added"}
    done = call("past", "rollback", "--to", "first")
    assert (done["changed"], done["deleted"], done["refused"]) == (1, 1, {})
    assert call("get", memory)["text"] == "The kettle is in the left cupboard"
    now = datetime.now(UTC).isoformat()
    assert call("past", "diff", "--since", now)["memories"] == []
    for command in (
        ("snapshots",),
        ("get", memory, "--at", "first"),
        ("history", memory, "--at", "first"),
        ("list", "--at", "first"),
        ("diff", "--since", "first"),
        ("rollback", "--to", "first"),
    ):
        result = run("past", *command)
        assert result.exit_code == ExitCode.DONE and result.stdout
    assert [one["name"] for one in call("past", "snapshots")["snapshots"]] == ["first"]
    call("past", "forget", "first")
    assert call("past", "snapshots")["snapshots"] == []
    problem = call("past", "list", "--at", "first", code=ExitCode.NOT_FOUND)
    assert problem["code"] == "not_found"


def test_LIFE_3_a_branch_is_made_changed_compared_merged_and_discarded(
    call: Any, run: Any, memory: str
) -> None:
    made = call("branch", "create", "trial", "--reason", "what if")
    assert (made["name"], made["reason"]) == ("trial", "what if")
    call("branch", "update", "trial", memory, "The kettle is on the shelf")
    added = call("branch", "add", "trial", "A zebra in the kitchen", "--tag", "odd")["id"]
    assert call("branch", "get", "trial", memory)["text"] == "The kettle is on the shelf"
    assert call("get", memory)["text"] == "The kettle is in the left cupboard"
    hits = call("branch", "search", "trial", "zebra", "--limit", "1")["hits"]
    assert [hit["memory"]["id"] for hit in hits] == [added]
    odd = call("branch", "memories", "trial", "--filter", "tags:odd")["memories"]
    assert [one["id"] for one in odd] == [added]
    call("branch", "delete", "trial", added)
    problem = call("branch", "get", "trial", added, code=ExitCode.NOT_FOUND)
    assert problem["code"] == "not_found"
    call("branch", "restore", "trial", added)
    diff = call("branch", "diff", "trial")["memories"]
    assert {one["id"]: one["kind"] for one in diff} == {memory: "changed", added: "added"}
    call("branch", "create", "other")
    call("branch", "update", "other", memory, "The kettle is gone")
    for command in (("list",), ("diff", "trial"), ("memories", "trial"), ("get", "trial", memory)):
        result = run("branch", *command)
        assert result.exit_code == ExitCode.DONE and result.stdout
    merged = call("branch", "merge", "trial")
    assert merged["merged"] and set(merged["changed"]) == {memory, added}
    assert call("get", memory)["text"] == "The kettle is on the shelf"
    refused = call("branch", "merge", "other")
    assert (refused["merged"], refused["conflicts"]) == (False, {memory: "version_conflict"})
    assert [one["name"] for one in call("branch", "list")["branches"]] == ["other"]
    call("branch", "discard", "other")
    assert call("branch", "list")["branches"] == []
    call("delete", added, "--hard")
