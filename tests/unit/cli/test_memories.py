"""Commands on memories: every verb, for programs and for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from memos_ray.cli.exits import ExitCode


def test_what_is_added_is_found(call: Any) -> None:
    added = call(
        "add",
        "Mina planted figs behind the house",
        "--tag=garden",
        "--tag=2023",
        "--speaker=Mina",
        "--type=event",
        "--event-time=2023-05-01",
        "--attribute=trees=3",
        "--attribute=sunny=true",
        "--attribute=place=behind=the house",
        "--visibility=shared",
        "--reader=agent:planner",
    )
    assert added["version"] == 1
    found = call("get", added["id"])
    assert found["text"] == "Mina planted figs behind the house"
    assert found["tags"] == ["garden", "2023"]
    assert found["event_time"] == "2023-05-01T00:00:00Z"
    assert found["attributes"] == {"trees": 3, "sunny": True, "place": "behind=the house"}
    assert (found["visibility"], found["readers"]) == ("shared", ["agent:planner"])
    hits = call("search", "who planted figs?", "--tag=garden", "--explain")["hits"]
    assert [hit["memory"]["id"] for hit in hits] == [added["id"]]
    assert hits[0]["signals"]
    assert call("search", "figs", "--until=2020-01-01")["hits"] == []
    assert [one["id"] for one in call("list", "--filter=tags:garden")["memories"]] == [added["id"]]


def test_CUBE_3_rules_and_lifespans_are_given_with_a_memory_or_later(call: Any) -> None:
    rules = ("--legal-hold", "--half-life-days=2", "--sensitivity=health", "--watermark=press")
    id = call("add", "tea", *rules)["id"]
    found = call("get", id)
    assert (found["legal_hold"], found["half_life_s"]) == (True, 172_800)
    assert found["watermark"] == "press"
    call("update", id, "--half-life-days=1", "--sensitivity=home", "--compliance=gdpr")
    found = call("get", id)
    assert (found["half_life_s"], found["compliance"]) == (86_400, ["gdpr"])
    assert found["sensitivity"] == ["health", "home"]
    call("lifecycle", "release", id)
    call("delete", id, "--hard")


def test_text_is_read_from_standard_input(call: Any) -> None:
    added = call("add", "-", stdin="两只猫\n".encode())
    assert call("get", added["id"])["text"] == "两只猫\n"
    problem = call("add", "-", stdin=b"\xff\xfe", code=ExitCode.INVALID)
    assert problem["code"] == "invalid_input"


def test_an_idempotency_key_makes_repeating_safe(call: Any) -> None:
    first = call("add", "once", "--idempotency-key=k1")
    again = call("add", "once", "--idempotency-key=k1")
    assert (again["id"], again["replayed"]) == (first["id"], True)
    problem = call("add", "other", "--idempotency-key=k1", code=ExitCode.CONFLICT)
    assert problem["code"] == "idempotency_conflict"


def test_a_memory_has_versions(call: Any, memory: str) -> None:
    changed = call("update", memory, "It is on the stove", "--mode=overwrite", "--reason=moved")
    assert changed["version"] == 2
    assert call("get", memory, "--version=1")["text"] == "The kettle is in the left cupboard"
    difference = call("diff", memory, "1", "2")
    assert "+It is on the stove" in difference["text"]
    assert call("rollback", memory, "1")["version"] == 3
    versions = call("history", memory)["versions"]
    assert [one["number"] for one in versions] == [3, 2, 1]
    assert versions[1]["reason"] == "moved"
    operations = [one["operation"] for one in call("log", "--memory", memory)["entries"]]
    assert {"create", "rollback"} <= set(operations)


def test_a_stale_version_is_refused(call: Any, memory: str) -> None:
    call("update", memory, "newer", "--expected-version=1")
    problem = call("update", memory, "x", "--expected-version=1", code=ExitCode.CONFLICT)
    assert problem["code"] == "version_conflict"


def test_deletion_is_undone_unless_it_was_hard(call: Any, memory: str) -> None:
    call("delete", memory)
    assert call("get", memory)["state"] == "deleted"
    assert memory not in [one["id"] for one in call("list", "--all")["memories"]]
    assert memory in [one["id"] for one in call("list", "--deleted", "--all")["memories"]]
    call("restore", memory)
    call("delete", memory, "--hard")
    call("restore", memory, code=ExitCode.NOT_FOUND)


def test_an_erasure_has_a_receipt(call: Any, run: Any, memory: str) -> None:
    assert call("receipt", memory, code=ExitCode.NOT_FOUND)["code"] == "not_found"
    call("delete", memory, "--hard")
    while (found := call("receipt", memory))["state"] != "done":
        pass
    assert call("receipt", memory, "--verify") == found
    assert call("receipt", memory, "--verify", "--public-key", found["public_key"]) == found
    wrong = ("receipt", memory, "--verify", "--public-key", "11" * 32)
    assert call(*wrong, code=ExitCode.INVALID)["code"] == "invalid_input"
    assert "embeddings" in run("receipt", memory).stdout


def test_a_frozen_memory_stays_as_it_is(call: Any, memory: str) -> None:
    call("freeze", memory)
    assert call("update", memory, "x", code=ExitCode.CONFLICT)["code"] == "frozen"
    call("unfreeze", memory)
    call("update", memory, "x")


def test_pages_follow_each_other(call: Any) -> None:
    call("namespace", "create", "user:admin/pages", "--kind=user_private")
    for number in range(5):
        call("add", f"page {number}", "-n", "user:admin/pages")
    first = call("list", "-n", "user:admin/pages", "--limit=3")
    rest = call("list", "-n", "user:admin/pages", "--limit=3", "--cursor", first["cursor"])
    texts = [one["text"] for page in (first, rest) for one in page["memories"]]
    assert texts == [f"page {number}" for number in (4, 3, 2, 1, 0)]
    assert len(call("list", "-n", "user:admin/pages", "--limit=2", "--all")["memories"]) == 5


def test_an_input_is_ingested_once(call: Any, tmp_path: Path) -> None:
    source = tmp_path / "talk.jsonl"
    lines = ['{"role": "user", "content": "I bought a boat"}', "no json"]
    source.write_text("\n".join(lines))
    report = call("ingest", str(source), "--tag=talk", code=ExitCode.PARTLY)
    assert (report["total"], report["stored"], report["failed"]) == (2, 1, 1)
    again = call("ingest", str(source), "--tag=talk", code=ExitCode.PARTLY)
    assert (again["stored"], again["replayed"]) == (0, 1)
    piped = call("ingest", "-", "--format=text", "--source=note", stdin=b"A note about boats.")
    assert piped["stored"] == 1
    call("ingest", str(tmp_path / "absent.md"), code=ExitCode.NOT_FOUND)


def test_people_see_the_same(run: Any, call: Any, memory: str, tmp_path: Path) -> None:
    call("update", memory, "[red]as it is[/] :smile:", "--mode=overwrite", "--tag=shown")
    assert "version 3" in run("update", memory, "--priority=5").stdout
    assert "[red]as it is[/] :smile:" in run("get", memory).stdout
    for command in (
        ("search", "as it is", "--tag=shown", "--explain"),
        ("list", "--tag=shown"),
    ):
        shown = run(*command).stdout
        assert f"{memory} v3" in shown and "[red]as" in shown
    assert "overwrite" in run("history", memory).stdout
    assert "as it is" in run("diff", memory, "1", "2").stdout
    assert "user:admin" in run("log", "--memory", memory).stdout
    note = tmp_path / "note.md"
    note.write_text("# Boats\n\nA boat needs paint.\n")
    assert "1 stored" in run("ingest", str(note)).stdout


def test_tables_that_are_narrow_break_what_they_show(
    run: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    made = call("add", "钥匙挂在蓝色的门后面" * 9, "--tag=标签")["id"]
    for command in (("list", "--tag=标签"), ("log", "--memory", made), ("timeline", made)):
        shown = run(*command).stdout
        assert max(map(cell_len, shown.splitlines())) <= 80
        assert "…" not in shown
    assert f"{made} v1" in run("list", "--tag=标签").stdout


def test_CUBE_2_what_a_memory_is_to_have_no_longer_is_cleared(call: Any, memory: str) -> None:
    call("update", memory, "--valid-to=2093-05-01", "--expires-at=2093-06-01")
    call("update", memory, "--clear=valid_to", "--clear", "expires_at", "--valid-from=2023-05-01")
    found = call("get", memory)
    assert (found.get("valid_to"), found.get("expires_at")) == (None, None)
    assert found["valid_from"].startswith("2023-05-01")
    both = ("--clear=valid_from", "--valid-from=2023-05-01")
    problem = call("update", memory, *both, code=ExitCode.INVALID)
    assert problem["details"]["field"] == "valid_from"
