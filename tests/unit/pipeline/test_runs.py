"""PIPE-1 and PIPE-2: runs on real shards and a real control store, without Ray."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from memos_ray.core.access.administration import PutNamespace, PutPrincipal
from memos_ray.core.access.model import NamespaceKind, PrincipalRecord, default_spec
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import RunState, StepState
from memos_ray.errors import (
    IdempotencyConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from memos_ray.gateway.memories.models import MemoryChange, NewMemory
from memos_ray.gateway.pipelines.models import RunRequest
from tests.unit.pipeline.conftest import HOOK, Bench

FACTS = {"kind": "retrieve", "id": "facts", "filter": "tags:fact"}
SUMMARY = {"kind": "retrieve", "id": "old", "ids": ["summary"]}
ASK = {"kind": "augment", "id": "ask", "model": "waiting", "template": "x"}
WRITE = {"kind": "update", "id": "write", "of": "old", "text": "{facts.list}"}


async def test_PIPE_1_a_chain_retrieves_augments_updates_and_tags(bench: Bench) -> None:
    run = await bench.done(
        {"kind": "retrieve", "id": "facts", "query": "{params.about}", "filter": "tags:fact"},
        {"kind": "augment", "id": "text", "template": "Known:\n{facts.list}"},
        SUMMARY,
        {"kind": "update", "id": "write", "of": "old", "text": "{text.text}"},
        {"kind": "tag", "id": "mark", "of": "old", "tags": ["case-{params.about}"]},
        {"kind": "create", "id": "note", "text": "Summarised {facts.count} facts.", "tags": ["n"]},
        params={"about": "lease"},
    )
    assert (run.state, run.reason) == (RunState.DONE, None)
    text = await bench.text("summary")
    assert text.startswith("Known:\n- ") and "March" in text and "June" in text
    memories = bench.memos.service
    summary = await memories.get(bench.memos.administrator, "summary")
    assert set(summary.tags) == {"summary", "case-lease"}
    effects = [effect for step in run.steps for effect in step.effects]
    assert [(one.kind.value, one.version) for one in effects] == [
        ("update", 2),
        ("tag", 3),
        ("create", 1),
    ]
    note = await memories.get(bench.memos.administrator, effects[-1].memory_id)
    assert note.text == "Summarised 2 facts." and note.origin.value == "inference"
    assert {source.memory_id for source in note.sources} == {"f1", "f2", "summary"}


async def test_PIPE_1_READ_2_a_query_is_completed_by_what_was_said_before(bench: Bench) -> None:
    await bench.add("ana", "Ana keeps bees behind the barn.")
    await bench.add("ben", "Ben keeps goats behind the barn.")
    asked = {
        "kind": "retrieve",
        "id": "found",
        "query": "What does she keep?",
        "turns": [
            {"content": "{params.before}"},
            {"role": "assistant", "content": "Ana is a farmer."},
        ],
        "limit": 1,
    }
    note = {"kind": "create", "id": "note", "text": "{found.text}"}
    params = {"before": "Who is Ana?"}
    run = await bench.done(asked, note, params=params)
    assert run.state is RunState.DONE, run
    assert run.steps[0].rewritten == 1
    assert await bench.text(run.steps[1].effects[0].memory_id) == "Ana keeps bees behind the barn."
    alone = await bench.done({**asked, "query": "What does Ben keep?"}, note, params=params)
    assert alone.steps[0].rewritten == 0
    assert (await bench.text(alone.steps[1].effects[0].memory_id)).startswith("Ben")
    runner = bench.memos.backend.pipelines
    assert runner is not None and (await runner.counts())["steps_rewritten"] == 1


async def test_PIPE_1_CUBE_3_what_is_made_has_the_labels_of_what_was_met(bench: Bench) -> None:
    service, me = bench.memos.service, bench.memos.administrator
    given: list[dict[str, Any]] = [
        {"id": "ana", "text": "Ana is ill.", "sensitivity": ["health"]},
        {"id": "ben", "text": "Ben is well.", "compliance": ["gdpr"]},
        {"id": "diary", "text": "Empty."},
    ]
    assert not (await service.add(me, [NewMemory(**one) for one in given])).failed
    run = await bench.done(
        {"kind": "retrieve", "id": "ill", "ids": ["ana"]},
        {"kind": "retrieve", "id": "all", "ids": ["ana", "ben"]},
        {"kind": "retrieve", "id": "diary", "ids": ["diary"]},
        {"kind": "augment", "id": "said", "template": "{ill.text}", "needs": ["ill"]},
        {"kind": "create", "id": "note", "text": "{said.text}", "needs": ["said"]},
        {"kind": "create", "id": "each", "each": "all", "text": "{item.text}", "needs": ["all"]},
        {
            "kind": "update",
            "id": "kept",
            "of": "diary",
            "text": "{said.text}",
            "needs": ["diary", "said"],
        },
    )
    assert run.state is RunState.DONE, run
    (note,), copies = (run.steps[number].effects for number in (4, 5))
    found = {one.memory_id: await service.get(me, one.memory_id) for one in (note, *copies)}
    made = [(one.text, one.sensitivity, one.compliance) for one in found.values()]
    none: list[str] = []
    ill, well = ("Ana is ill.", ["health"], none), ("Ben is well.", none, ["gdpr"])
    assert made == [ill, ill, well]
    diary = await service.get(me, "diary")
    assert (diary.text, diary.sensitivity) == ("Ana is ill.", ["health"])


async def test_PIPE_1_branches_are_skipped_and_joined(bench: Bench) -> None:
    run = await bench.done(
        FACTS,
        {"kind": "augment", "id": "many", "template": "many", "when": "facts.count > 5"},
        {"kind": "augment", "id": "more", "template": "more", "needs": ["many"]},
        {
            "kind": "augment",
            "id": "few",
            "template": "few",
            "when": "facts.count <= 5",
            "needs": ["facts"],
        },
        {"kind": "augment", "id": "last", "template": "{few.text}", "needs": ["more", "few"]},
    )
    states = {step.id: step.state for step in run.steps}
    assert states == {
        "facts": StepState.DONE,
        "many": StepState.SKIPPED,
        "more": StepState.SKIPPED,
        "few": StepState.DONE,
        "last": StepState.DONE,
    }


async def test_PIPE_1_a_step_is_mapped_over_memories_and_filtered(bench: Bench) -> None:
    run = await bench.done(
        FACTS,
        {"kind": "filter", "id": "money", "of": "facts", "keep": "tags:money"},
        {"kind": "create", "id": "copy", "each": "facts", "text": "Copy of {item.id}"},
        {"kind": "delete", "id": "gone", "of": "money"},
        {"kind": "augment", "id": "asked", "model": "quoting", "template": "say {money.text}"},
    )
    assert run.state is RunState.DONE, run
    made = [effect.memory_id for effect in run.steps[2].effects]
    assert {await bench.text(id) for id in made} == {"Copy of f1", "Copy of f2"}
    deleted = await bench.memos.service.get(bench.memos.administrator, "f2")
    assert deleted.state.value == "deleted"


async def test_PIPE_1_what_changes_nothing_is_left_out(bench: Bench) -> None:
    mark = {"kind": "tag", "id": "mark", "of": "old", "tags": ["t"]}
    note = {"kind": "create", "id": "note", "text": "x", "tags": ["t"]}
    again = [{**mark, "id": "again"}, note, {**mark, "id": "new", "of": "note"}]
    first = await bench.done(FACTS, SUMMARY, WRITE, mark, *again)
    assert first.state is RunState.DONE, first
    assert [len(step.effects) for step in first.steps] == [0, 0, 1, 1, 0, 1, 0]
    second = await bench.done(FACTS, SUMMARY, WRITE, mark)
    assert [len(step.effects) for step in second.steps] == [0, 0, 0, 0]


async def test_PIPE_2_nothing_is_written_when_a_step_fails(bench: Bench) -> None:
    run = await bench.done(
        FACTS, SUMMARY, WRITE, {"kind": "augment", "id": "ask", "model": "gone", "template": "x"}
    )
    assert (run.state, run.reason) == (RunState.FAILED, "not_found")
    assert await bench.text("summary") == "Nothing is known yet."


async def test_PIPE_2_a_partition_commits_all_or_nothing(bench: Bench) -> None:
    """The second write is refused, for its id is taken: the first has no effect, either."""
    run = await bench.done(
        FACTS,
        SUMMARY,
        WRITE,
        {"kind": "create", "id": "note", "memory_id": "f1", "text": "taken"},
    )
    assert (run.state, run.reason) == (RunState.FAILED, "already_exists")
    summary = await bench.memos.service.get(bench.memos.administrator, "summary")
    assert (summary.version, summary.text) == (1, "Nothing is known yet.")
    # Nothing but ids and digests is left of a run that has ended.
    records = bench.memos.control.load("/runs/default")
    assert records and all(b"March" not in record.body for record in records)


async def test_PIPE_2_VAULT_1_what_there_is_no_room_for_fails_the_run_whole(bench: Bench) -> None:
    place, me = "user:admin/small", bench.memos.administrator
    spec = default_spec(place, NamespaceKind.USER_PRIVATE, "user:admin")
    await bench.memos.admin.change(me, PutNamespace(replace(spec, quota_bytes=10)))
    first, second = (
        {"kind": "create", "id": id, "memory_id": id, "text": "x" * 6, "namespace": place}
        for id in ("n1", "n2")
    )
    run = await bench.done(FACTS, SUMMARY, WRITE, first, second)
    assert (run.state, run.reason) == (RunState.FAILED, "quota_exceeded")
    assert run.message == "the namespace has no room for that"
    # Nothing is written, where there is no room and elsewhere.
    assert (await bench.memos.service.list(me, place)).memories == []
    assert await bench.text("summary") == "Nothing is known yet."
    assert (await bench.done(FACTS, SUMMARY, WRITE, first)).state is RunState.DONE
    assert await bench.text("n1", place) == "x" * 6


async def _elsewhere(bench: Bench) -> str:
    """Makes a namespace in another partition than home is in."""
    from memos_ray.core.vault.ring import partition_of

    home = partition_of("default", "user:admin", 0, 4)
    for number in range(50):
        name = f"user:admin/n{number}"
        if partition_of("default", name, 0, 4) > home:
            return await bench.memos.namespace(name)
    name = next(f"z{n}" for n in range(500) if partition_of("default", f"z{n}", 0, 4) != home)
    return await bench.memos.namespace(name)


async def test_PIPE_2_what_was_committed_is_compensated_across_partitions(bench: Bench) -> None:
    place = await _elsewhere(bench)
    await bench.add("taken", "Here already.", namespace=place)
    made = {"kind": "create", "id": "note", "text": "A note.", "memory_id": "note-1"}
    clash = {"kind": "create", "id": "clash", "memory_id": "taken", "text": "x", "namespace": place}
    back = {"kind": "delete", "id": "drop", "of": "money"}
    money = {"kind": "filter", "id": "money", "of": "facts", "keep": "tags:money"}
    run = await bench.done(FACTS, SUMMARY, WRITE, made, money, back, clash)
    assert (run.state, run.reason) == (RunState.FAILED, "already_exists")
    effects = {one.memory_id: one for step in run.steps for one in step.effects}
    if effects["summary"].version is not None:
        assert all(effects[id].undone for id in ("summary", "note-1", "f2"))
    memories, admin = bench.memos.service, bench.memos.administrator
    assert await bench.text("summary") == "Nothing is known yet."
    assert (await memories.get(admin, "f2")).state.value == "activated"
    assert await bench.text("taken", place) == "Here already."
    with_note = await memories.list(admin, filter="id: note-1")
    assert with_note.memories == []


async def test_PIPE_2_what_was_put_away_is_away_again_when_a_run_is_undone(bench: Bench) -> None:
    place = await _elsewhere(bench)
    await bench.add("taken", "Here already.", namespace=place)
    await bench.add("aside", "An old note.")
    memories, admin = bench.memos.service, bench.memos.administrator
    for one in ("summary", "aside"):
        await memories.archive(admin, one)
    aside = {"kind": "retrieve", "id": "aside", "ids": ["aside"]}
    drop = {"kind": "delete", "id": "drop", "of": "aside"}
    clash = {"kind": "create", "id": "clash", "memory_id": "taken", "text": "x", "namespace": place}
    run = await bench.done(FACTS, SUMMARY, WRITE, aside, drop, clash)
    assert (run.state, run.reason) == (RunState.FAILED, "already_exists")
    found = [await memories.get(admin, one) for one in ("summary", "aside")]
    assert [one.state.value for one in found] == ["archived", "archived"]
    assert [one.text for one in found] == ["Nothing is known yet.", "An old note."]
    assert all(one.version > 2 for one in found)


async def test_PIPE_2_a_memory_that_has_changed_meanwhile_is_not_overwritten(bench: Bench) -> None:
    """The change comes between the reading and the commit: while a model answers."""
    run = await bench.start(SUMMARY, ASK, {**WRITE, "text": "{ask.text}"})
    await asyncio.wait_for(bench.waiting.asked.wait(), 60)
    change = MemoryChange(text="Changed by hand.")
    await bench.memos.service.update(bench.memos.administrator, "summary", change)
    bench.waiting.go.set()
    found = await bench.ended(run.id)
    assert (found.state, found.reason) == (RunState.FAILED, "version_conflict")
    assert await bench.text("summary") == "Changed by hand."


async def test_PIPE_2_a_run_is_cancelled_and_has_written_nothing(bench: Bench) -> None:
    pipelines, admin = bench.memos.doorway.pipelines, bench.memos.administrator
    run = await bench.start(FACTS, SUMMARY, WRITE, ASK)
    await asyncio.wait_for(bench.waiting.asked.wait(), 60)
    assert (await pipelines.cancel(admin, run.id)).state is RunState.CANCELLED
    assert (await pipelines.cancel(admin, run.id)).state is RunState.CANCELLED
    assert await bench.text("summary") == "Nothing is known yet."
    assert bench.memos.control.load("/runs") == []


async def test_PIPE_2_the_same_key_is_the_same_run(bench: Bench) -> None:
    note = {"kind": "create", "id": "note", "text": "once"}
    first = await bench.done(note, idempotency_key="k")
    again = await bench.start(note, idempotency_key="k")
    assert again.id == first.id
    found = await bench.memos.service.list(bench.memos.administrator, filter="origin: inference")
    assert len(found.memories) == 1
    with pytest.raises(IdempotencyConflictError):
        await bench.start({**note, "text": "twice"}, idempotency_key="k")


async def test_PIPE_2_a_revoked_callers_run_fails_clearly(bench: Bench) -> None:
    memos = bench.memos
    ann = await memos.caller("user:ann")
    run = await bench.start(ASK, {"kind": "create", "id": "note", "text": "mine"}, caller=ann)
    await asyncio.wait_for(bench.waiting.asked.wait(), 60)
    record = PrincipalRecord("user:ann", (), disabled=True)
    changed = await memos.admin.change(memos.administrator, PutPrincipal(record))
    # Another run of somebody else, who has seen the new policy, makes sure that the runner has it.
    await bench.done({"kind": "augment", "id": "x", "template": "x"}, policy=changed.version)
    bench.waiting.go.set()
    found = await bench.ended(run.id)
    assert (found.state, found.reason) == (RunState.FAILED, "not_found")
    assert [step.effects for step in found.steps] == [[], []]


async def test_PIPE_2_runs_do_not_reach_further_than_their_callers(bench: Bench) -> None:
    ann = await bench.memos.caller("user:ann")
    reach = {"kind": "retrieve", "id": "x", "filter": "tags:fact", "namespace": "user:admin"}
    empty = await bench.done(reach, caller=ann)
    assert (empty.state, empty.steps[0].memories) == (RunState.DONE, 0)
    named = {"kind": "retrieve", "id": "x", "ids": ["f1"], "namespace": "user:admin"}
    run = await bench.done(named, caller=ann)
    assert (run.state, run.reason) == (RunState.FAILED, "not_found")
    other = await bench.done(FACTS)
    with pytest.raises(NotFoundError):
        await bench.memos.doorway.pipelines.status(ann, other.id)
    with pytest.raises(NotFoundError):
        await bench.memos.doorway.pipelines.cancel(ann, other.id)
    seen = (await bench.memos.doorway.pipelines.runs(ann)).runs
    assert [one.id for one in seen] == [run.id, empty.id]


async def test_PIPE_2_hooks_are_called_after_the_commit_and_tried_again(bench: Bench) -> None:
    bench.hooks.errors.append(UnavailableError("away"))
    tell = {"kind": "publish", "id": "tell", "url": HOOK, "text": "{facts.count} facts"}
    run = await bench.done(FACTS, SUMMARY, WRITE, tell)
    assert run.state is RunState.DONE
    ((url, key, body),) = bench.hooks.sent
    assert (url, key) == (HOOK, f"{run.id}/tell")
    assert orjson.loads(body)["text"] == "2 facts"
    failed = await bench.done(FACTS, tell, {"kind": "retrieve", "id": "no", "ids": ["gone"]})
    assert failed.state is RunState.FAILED and len(bench.hooks.sent) == 1


async def test_PIPE_2_no_hook_is_called_that_is_not_allowed(bench: Bench) -> None:
    run = await bench.done(
        {"kind": "publish", "id": "tell", "url": "https://evil.example/", "text": "x"}
    )
    assert (run.state, run.reason) == (RunState.INCOMPLETE, "permission_denied")
    assert run.steps[0].error == "permission_denied" and bench.hooks.sent == []


async def test_PIPE_2_a_step_is_tried_again_and_every_step_is_on_record(bench: Bench) -> None:
    model = bench.memos.backend.models["quoting"]
    model.error = (0, UnavailableError("away"))  # type: ignore[attr-defined]
    ask = {"kind": "augment", "id": "ask", "model": "quoting", "template": "x", "backoff_s": 0}
    run = await bench.done({**ask, "retries": 2})
    assert (run.state, run.steps[0].attempts) == (RunState.FAILED, 3)
    events = bench.memos.control.events(0, 1000)
    seen = [event.detail["state"] for event in events if event.detail.get("run") == run.id]
    assert seen == ["started", "failed", "failed"]
    assert all(event.principal == "user:admin" for event in events if event.detail.get("run"))


async def test_PIPE_1_named_pipelines_have_versions_and_parameters(bench: Bench) -> None:
    pipelines, admin = bench.memos.doorway.pipelines, bench.memos.administrator
    steps = [{"kind": "create", "id": "note", "text": "About {params.case}."}]
    spec = read_definition({"name": "note", "parameters": {"case": {}}, "steps": steps})
    assert (await pipelines.keep(admin, "note", spec)).version == 1
    better = spec.model_copy(update={"description": "better"})
    assert (await pipelines.keep(admin, "note", better)).version == 2
    assert [one.version for one in (await pipelines.templates(admin)).pipelines] == [2]
    assert (await pipelines.template(admin, "note", version=1)).definition == spec
    with pytest.raises(InvalidInputError):
        await pipelines.run(admin, RunRequest(template="note"))
    begun = await pipelines.run(admin, RunRequest(template="note", params={"case": "A-7"}))
    run = await bench.ended(begun.id)
    effect = run.steps[0].effects[0]
    assert await bench.text(effect.memory_id) == "About A-7."
    ann = await bench.memos.caller("user:ann")
    with pytest.raises(NotFoundError):
        await pipelines.templates(ann, "user:admin")
    with pytest.raises(NotFoundError):
        await pipelines.keep(ann, "note", spec, "user:admin")
