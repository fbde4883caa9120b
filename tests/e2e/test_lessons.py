"""A model learns what was remembered: it answers without any memory in the prompt, and forgets what
is deleted."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from memos_ray import MemOS
from memos_ray.cluster.authorities import SupervisorHandle
from memos_ray.config import ModelSettings, Settings
from memos_ray.core.activation import CacheState
from memos_ray.core.cube.payload import Form
from memos_ray.core.parameter import ProbingState, TeachingState, Way
from memos_ray.core.vault.receipts import Derived
from memos_ray.errors import NotFoundError
from memos_ray.gateway.chat.models import ChatAnswer
from memos_ray.gateway.parameter.models import LessonReport
from memos_ray.gateway.parameter.proposal_models import Proposal
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.world import Fact, Split, draw_facts
from tests.optional import need

need("vllm", "peft")

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

MODEL = "tiny-recall"
FACTS = draw_facts(random.Random(11), 8, Split.HELD_OUT)


@pytest.fixture(scope="module")
def memos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemOS]:
    model = {
        "name": MODEL,
        "path": tiny_recall_path(),
        "dtype": "float32",
        "context_tokens": 512,
        "kv_bytes": 32 << 20,
        "shelf_bytes": 32 << 20,
        "adapter_slots": 2,
        "cpus": 0,
    }
    settings = Settings.model_validate(
        {
            "data": tmp_path_factory.mktemp("memos"),
            "models": [ModelSettings.model_validate(model)],
            "vectors": {"enabled": False},
            # A busy machine takes its time to start a shard anew.
            "gateway": {"timeout_s": 240},
            # Whatever is found is worth a lesson, if somebody says so.
            "promotion": {
                "enabled": False,
                "pause_s": 0.1,
                "adapters": "propose",
                "adapters_conversations": 1,
                "adapters_settled_s": 0,
                "adapters_horizon_s": 0.001,
                "adapters_lesson_share": 0,
            },
            # A tiny model learns in large steps, and is no writer.
            "teaching": {
                "learning_rate": 4e-3,
                "passes": 500,
                "recall_min": 0.8,
                "paraphraser": MODEL,
                "paraphrases": 2,
                "paraphrase_s": 30,
            },
            "embedder": {
                "kind": "custom",
                "factory": "memos_ray.testing.embedders:HashingEmbedder",
            },
        }
    )
    with MemOS(data=settings.data, settings=settings) as memos:
        yield memos


@pytest.fixture(scope="module")
def ids(memos: MemOS) -> list[str]:
    report = memos.add([{"text": fact.text} for fact in FACTS])
    return [result.id or "" for result in report.results]


def ask(memos: MemOS, fact: Fact, **fields: object) -> ChatAnswer:
    return memos.chat(fact.question, MODEL, temperature=0.0, max_tokens=4, **fields)


def right(answer: ChatAnswer, fact: Fact) -> bool:
    return answer.text.strip().lower() == fact.answer.lower()


def test_it_learns_and_needs_no_memory_in_the_prompt(memos: MemOS, ids: list[str]) -> None:
    without = [right(ask(memos, fact, memory="off"), fact) for fact in FACTS]
    assert sum(without) <= 1
    lesson = memos.adapters.teach(ids, MODEL)
    killed = 0

    def kill_once(lesson: LessonReport) -> None:
        nonlocal killed
        if lesson.share > 0.2 and not killed:
            # Of this test's own cluster, and of no other on the machine.
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if "AdapterTrainer" in " ".join(process.cmdline()):
                        os.kill(process.pid, signal.SIGKILL)
                        killed += 1

    lesson = memos.adapters.wait(lesson.id, progress=kill_once)
    assert killed == 1
    assert lesson.state is TeachingState.LIVE, lesson.report or lesson.reason
    assert f"by `{MODEL}`" in lesson.report
    assert lesson.figures["wordings"] >= 0
    answers = [ask(memos, fact) for fact in FACTS]
    assert all({one.form for one in answer.memories} == {Form.PARAMETER} for answer in answers)
    assert sum(right(answer, fact) for answer, fact in zip(answers, FACTS, strict=True)) >= 7
    texts = [ask(memos, fact, adapters=False) for fact in FACTS]
    assert all({one.form for one in answer.memories} == {Form.PLAINTEXT} for answer in texts)


def test_it_can_be_named_and_turned_into_text(memos: MemOS, ids: list[str]) -> None:
    (lesson,) = memos.adapters.list()
    for name, wanted in ((f"{MODEL}:{lesson.id}", range(7, 9)), (f"{MODEL}:base", range(2))):
        said = [
            memos.chat(fact.question, name, memory="off", temperature=0.0, max_tokens=4)
            for fact in FACTS
        ]
        known = sum(right(answer, fact) for answer, fact in zip(said, FACTS, strict=True))
        assert known in wanted
    with pytest.raises(NotFoundError):
        memos.chat("Hm?", f"{MODEL}:{ids[0]}")
    result = memos.adapters.externalise(lesson.id)
    assert result.probing is ProbingState.DONE, result.reason
    made = {way: [one for one in result.memories if one.way is way] for way in Way}
    assert [one.source.id for one in made[Way.LINEAGE]] == ids
    texts = {one.source.id: memos.get(one.id).text for one in made[Way.PROBING]}
    told = dict(zip(ids, FACTS, strict=True))
    assert sum(told[id].answer.lower() in text.lower() for id, text in texts.items()) >= 7
    assert all(0 < one.confidence <= 1 for one in made[Way.PROBING])
    assert memos.adapters.externalise(lesson.id) == result
    for one in result.memories:
        memos.delete(one.id, hard=True)


def test_what_it_has_not_learnt_comes_as_a_cache_of_the_adapter(
    memos: MemOS, ids: list[str]
) -> None:
    others = draw_facts(random.Random(13), 6, Split.HELD_OUT)
    more = [result.id or "" for result in memos.add([{"text": one.text} for one in others]).results]
    block = memos.convert([*ids, *more], MODEL).id or ""
    wanted = {**dict.fromkeys(ids, Form.PARAMETER), **dict.fromkeys(more, Form.ACTIVATION)}
    text = [ask(memos, fact, memories=20) for fact in (*FACTS, *others)]
    assert Form.PLAINTEXT in {one.form for one in text[0].memories}, "not there yet"
    deadline = time.monotonic() + 240
    while {one.id: one.form for one in ask(memos, FACTS[0], memories=20).memories} != wanted:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (cache,) = memos.kv.explain(block).adapted
    (lesson,) = memos.adapters.list()
    assert (cache.adapter_id, cache.adapter) == (lesson.id, lesson.adapter)
    assert (cache.state, cache.memories) == (CacheState.HOT, len(more))
    answers = [ask(memos, fact, memories=20) for fact in (*FACTS, *others)]
    assert [one.text for one in answers] == [one.text for one in text]
    found = [right(one, fact) for one, fact in zip(answers, (*FACTS, *others), strict=True)]
    assert sum(found[: len(ids)]) >= 7 and sum(found[len(ids) :]) >= 5
    for id in (block, *more):
        memos.delete(id, hard=True)
    assert {one.form for one in ask(memos, FACTS[1]).memories} == {Form.PARAMETER}


def test_it_forgets_what_is_deleted(memos: MemOS, ids: list[str]) -> None:
    gone = FACTS[0]
    memos.delete(ids[0], hard=True)
    assert not right(ask(memos, gone), gone)
    deadline = time.monotonic() + 600
    while not (answer := ask(memos, FACTS[1])).memories or (
        {one.form for one in answer.memories} != {Form.PARAMETER}
    ):
        assert time.monotonic() < deadline
        time.sleep(1.0)
    assert right(answer, FACTS[1])
    assert not right(ask(memos, gone), gone)
    states = [lesson.state for lesson in memos.adapters.list()]
    assert sorted(states) == [TeachingState.LIVE, TeachingState.RETIRED]


def test_adapters_are_merged_exported_and_imported(memos: MemOS, tmp_path: Path) -> None:
    (fact,) = draw_facts(random.Random(12), 1, Split.HELD_OUT)
    stored = memos.add(fact.text)
    (older,) = [one for one in memos.adapters.list() if one.state is TeachingState.LIVE]
    newer = memos.adapters.wait(memos.adapters.teach([stored.id or ""], MODEL).id)
    assert newer.state is TeachingState.LIVE, newer.report or newer.reason
    merged = memos.adapters.wait(memos.adapters.merge([older.id, newer.id]).id)
    # Whether a sum still knows everything is the gate's business.
    assert merged.state in (TeachingState.LIVE, TeachingState.REJECTED), merged.reason
    assert merged.memories == [*older.memories, *newer.memories]
    assert merged.figures["recall"] > merged.figures["base_recall"]
    memos.adapters.export_folder(newer.id, tmp_path / "adapter")
    lesson = memos.adapters.import_folder(tmp_path / "adapter", [stored.id or ""], MODEL)
    found = memos.adapters.wait(lesson.id)
    assert (found.state, found.adapter) == (TeachingState.LIVE, newer.adapter), found.reason
    assert right(ask(memos, fact), fact)


def test_a_lesson_outlives_its_shard(memos: MemOS) -> None:
    (fact,) = draw_facts(random.Random(13), 1, Split.HELD_OUT)
    stored = memos.add(fact.text)
    lesson = memos.adapters.teach([stored.id or ""], MODEL)
    shards = asyncio.run(SupervisorHandle(Settings().namespace).status()).values()
    killed: list[int] = []

    def kill_once(lesson: LessonReport) -> None:
        if lesson.share > 0.2 and not killed:
            killed.extend(one.pid for one in shards if one is not None)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    found = memos.adapters.wait(lesson.id, progress=kill_once)
    assert killed
    assert found.state is TeachingState.LIVE, found.report or found.reason
    assert right(ask(memos, fact), fact)
    memos.delete(stored.id or "", hard=True)
    deadline = time.monotonic() + 240
    while (receipt := memos.receipt(stored.id or "")).state != "done":
        assert time.monotonic() < deadline, receipt
        time.sleep(0.1)
    assert receipt.verified()
    assert [item.name for item in receipt.items if item.kind is Derived.ADAPTER] == [lesson.id]


def test_what_is_asked_for_is_proposed_and_learnt(memos: MemOS) -> None:
    drawn = draw_facts(random.Random(14), 5, Split.HELD_OUT)
    stored = memos.add([{"text": fact.text} for fact in drawn])
    facts = {result.id: fact for result, fact in zip(stored.results, drawn, strict=True)}

    def asked_for(proposal: Proposal) -> list[Fact]:
        fresh = [one.id for one in proposal.memories if not one.learnt]
        return [facts[id] for id in fresh if id in facts]

    def accepted() -> tuple[Proposal, LessonReport] | None:
        # There may be one about what was asked for before this test; and while it is being
        # accepted, a better one may take its place.
        for proposal in memos.adapters.proposals():
            with suppress(NotFoundError):
                if asked_for(proposal):
                    return proposal, memos.adapters.accept(proposal.id)
        return None

    deadline = time.monotonic() + 240
    while not (begun := accepted()):
        assert time.monotonic() < deadline
        for fact in drawn:
            ask(memos, fact)
    proposal, lesson = begun
    wanted = asked_for(proposal)
    assert proposal.reasons
    assert not any(fact.answer in " ".join(proposal.reasons) for fact in drawn)
    lesson = memos.adapters.wait(lesson.id)
    assert lesson.state is TeachingState.LIVE, lesson.report or lesson.reason
    assert {one.id for one in lesson.memories} == {one.id for one in proposal.memories}
    assert proposal.id not in {one.id for one in memos.adapters.proposals()}
    assert sum(right(ask(memos, fact), fact) for fact in wanted) >= 0.8 * len(wanted)
