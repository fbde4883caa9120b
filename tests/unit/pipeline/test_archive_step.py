"""PIPE-1 and PIPE-2: pipelines put memories away, and take that back."""

from __future__ import annotations

from memos_ray.core.cube.cube import State
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.effects import Content, Effect, EffectKind, inverses
from memos_ray.core.pipeline.run import RunState
from memos_ray.core.vault.operations import Delete, Restore, Rollback
from memos_ray.core.vault.ring import partition_of
from memos_ray.gateway.memories.models import MemoryChange
from tests.unit.pipeline.conftest import HOOK, Bench

FACTS = {"kind": "retrieve", "id": "facts", "filter": "tags:fact"}
AWAY = {"kind": "archive", "id": "away", "of": "facts"}


async def test_PIPE_1_memories_are_put_away(bench: Bench) -> None:
    run = await bench.done(
        FACTS,
        {"kind": "create", "id": "note", "text": "Of {facts.count} facts.", "tags": ["n"]},
        AWAY,
    )
    assert run.state is RunState.DONE, run
    service, admin = bench.memos.service, bench.memos.administrator
    for id in ("f1", "f2"):
        memory = await service.get(admin, id)
        assert memory.state is State.ARCHIVED and "." in memory.text
    kinds = [one.kind.value for step in run.steps for one in step.effects]
    assert sorted(kinds) == ["archive", "archive", "create"]


async def test_PIPE_1_what_is_away_already_is_left_out(bench: Bench) -> None:
    await bench.memos.service.archive(bench.memos.administrator, "f1")
    run = await bench.done({"kind": "retrieve", "id": "facts", "ids": ["f1", "f2"]}, AWAY)
    assert run.state is RunState.DONE, run
    assert [one.memory_id for step in run.steps for one in step.effects] == ["f2"]


async def test_PIPE_2_putting_away_is_compensated(bench: Bench) -> None:
    """Of two partitions the second refuses: what the first has put away is back."""
    names = [f"place-{number}" for number in range(16)]
    first = min(names, key=lambda name: partition_of("default", name, 0, 4))
    last = max(names, key=lambda name: partition_of("default", name, 0, 4))
    for place in (first, last):
        await bench.memos.namespace(place)
        await bench.add("one", "Words.", "x", namespace=place)
    started = await bench.start(
        {"kind": "retrieve", "id": "a", "ids": ["one"], "namespace": first},
        {"kind": "update", "id": "u", "of": "a", "text": "Other words."},
        {"kind": "archive", "id": "away", "of": "a"},
        {"kind": "retrieve", "id": "b", "ids": ["one"], "namespace": last},
        {"kind": "augment", "id": "ask", "model": "waiting", "template": "x"},
        {"kind": "archive", "id": "too", "of": "b"},
    )
    await bench.waiting.asked.wait()
    change = MemoryChange(text="Changed meanwhile.")
    await bench.memos.service.update(bench.memos.administrator, "one", change, last)
    bench.waiting.go.set()
    run = await bench.ended(started.id)
    assert (run.state, run.reason) == (RunState.FAILED, "version_conflict")
    memory = await bench.memos.service.get(bench.memos.administrator, "one", first)
    assert (memory.text, memory.state) == ("Words.", State.ACTIVATED)


def test_PIPE_1_a_change_brings_back_what_was_put_away() -> None:
    put = Effect(EffectKind.ARCHIVE, "s", 0, 0, "n", "m", 1)
    said = Effect(EffectKind.UPDATE, "t", 0, 0, "n", "m", 1, text="new")
    same = Effect(EffectKind.UPDATE, "t", 0, 0, "n", "m", 1, text="old")
    away = Content("old", frozenset()).after(put)
    assert away.archived and away.after(put) == away
    assert not away.after(said).archived
    # The vault refuses an update that says what is there.
    assert away.after(same) == away


def test_PIPE_2_inverses_of_what_was_put_away() -> None:
    made = Effect(EffectKind.CREATE, "c", 0, 0, "n", "m", 0, text="x")
    put = Effect(EffectKind.ARCHIVE, "s", 0, 0, "n", "m", 4)
    gone = Effect(EffectKind.DELETE, "d", 0, 0, "n", "m", 4)

    def undone(*effects: Effect) -> list[object]:
        versions = range(5, 5 + len(effects))
        return [write.operation for write in inverses("r", effects, list(versions))]

    assert undone(put) == [Restore("m", 5, state_of=4)]
    assert undone(made, put) == [Delete("m", expected=6)]
    assert undone(put, gone) == [
        Restore("m", 6, state_of=4),
        Rollback("m", 4, with_state=True),
    ]


async def test_PIPE_1_validate_says_what_a_run_would_fail_of(bench: Bench) -> None:
    definition = read_definition(
        {
            "name": "x",
            "steps": [
                FACTS,
                {"kind": "retrieve", "id": "far", "filter": "tags:x", "namespace": "nowhere"},
                {"kind": "augment", "id": "ask", "template": "x", "model": "none"},
                {"kind": "create", "id": "w", "text": "x", "namespace": "nowhere"},
                {"kind": "publish", "id": "p", "url": "https://other.example/", "text": "x"},
                {"kind": "publish", "id": "q", "url": HOOK, "text": "x"},
            ],
        }
    )
    pipelines, admin = bench.memos.doorway.pipelines, bench.memos.administrator
    found = await pipelines.validate(admin, definition)
    assert [problem.split(":")[0] for problem in found.problems] == [
        "step far",
        "step ask",
        "step w",
        "step p",
    ]
    # Somebody else's namespace and one that is not there read alike.
    stranger = await bench.memos.caller("user:stranger")
    private = await bench.memos.namespace("closed")
    other = definition.model_dump(mode="json")
    other["steps"] = [{"kind": "retrieve", "id": "far", "filter": "tags:x", "namespace": private}]
    (problem,) = (await pipelines.validate(stranger, read_definition(other))).problems
    assert problem == "step far: there is no namespace closed for you"
    assert (await pipelines.counts())["runs_open"] == 0
