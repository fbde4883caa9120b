"""A conversation from end to end on vLLM: the answer depends on what was remembered, whether the
memory comes as text or as a KV cache, and never on what has been changed since."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import openai
import pytest
import ray

from memos_ray import MemOS
from memos_ray.config import ModelSettings, Settings
from memos_ray.core.activation import CacheState
from memos_ray.core.cube.payload import Form
from memos_ray.core.generation import ChatMessage
from memos_ray.errors import UnavailableError
from memos_ray.gateway.chat.models import ChatAnswer
from memos_ray.serving.handles import ModelHandle
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.http_door import HttpDoor, http_door
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.world import RELATIONS, Fact, Split, draw_facts
from tests.optional import need

need("vllm")

pytestmark = pytest.mark.e2e

MODEL = "tiny-recall"
FACTS = draw_facts(random.Random(5), 8, Split.HELD_OUT)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    model = {
        "name": MODEL,
        "path": tiny_recall_path(),
        "dtype": "float32",
        "context_tokens": 1024,
        "kv_bytes": 32 << 20,
        "shelf_bytes": 32 << 20,
        "cpus": 0,
    }
    return Settings.model_validate(
        {
            "data": tmp_path_factory.mktemp("memos"),
            "models": [ModelSettings.model_validate(model)],
            "vectors": {"enabled": False},
            # What is promoted by itself would make answers come in another form than is asked for.
            "promotion": {"enabled": False},
            # A busy machine takes its time to start a shard anew.
            "gateway": {"timeout_s": 240},
            "embedder": {
                "kind": "custom",
                "factory": "memos_ray.testing.embedders:HashingEmbedder",
            },
        }
    )


@pytest.fixture(scope="module")
def memos(settings: Settings) -> Iterator[MemOS]:
    with MemOS(data=settings.data, settings=settings) as memos:
        yield memos


@pytest.fixture(scope="module")
def upstream(memos: MemOS, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpDoor]:
    """A door of its own, without memories, on the same replicas."""
    folder = tmp_path_factory.mktemp("upstream")
    with http_door(folder, {MODEL: ModelHandle(MODEL)}) as door:
        yield door


@pytest.fixture(scope="module")
def remote(memos: MemOS, settings: Settings, upstream: HttpDoor) -> Iterator[MemOS]:
    """A client to the same cluster for which the model is behind that door, under another name."""
    elsewhere = {
        "name": "elsewhere",
        "engine": "openai",
        "base_url": f"{upstream.url}/v1",
        "api_key": upstream.admin_key,
        "remote_name": MODEL,
    }
    models = (*settings.models, ModelSettings.model_validate(elsewhere))
    with MemOS(
        address=ray.get_runtime_context().gcs_address,
        settings=settings.model_copy(update={"models": models}),
    ) as joined:
        yield joined


@pytest.fixture(scope="module")
def ids(memos: MemOS) -> list[str]:
    report = memos.add([{"text": fact.text} for fact in FACTS])
    return [result.id or "" for result in report.results]


def ask(memos: MemOS, fact: Fact, model: str = MODEL, **fields: object) -> ChatAnswer:
    return memos.chat(fact.question, model, temperature=0.0, max_tokens=4, **fields)


def await_hot(memos: MemOS, block: str) -> None:
    deadline = time.monotonic() + 240
    while memos.kv.explain(block).state is not CacheState.HOT:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def right(answer: ChatAnswer, fact: Fact) -> bool:
    return answer.text.strip().lower() == fact.answer.lower()


def test_the_answer_depends_on_what_was_remembered(memos: MemOS, ids: list[str]) -> None:
    with_memory = [right(ask(memos, fact), fact) for fact in FACTS]
    without = [right(ask(memos, fact, memory="off"), fact) for fact in FACTS]
    assert sum(with_memory) >= 7 and sum(without) <= 1
    assert ids


def test_a_model_behind_an_endpoint_answers_the_same(
    memos: MemOS, remote: MemOS, ids: list[str]
) -> None:
    assert remote.models() == ["elsewhere", MODEL]
    for fact in FACTS:
        for memory in ("read", "off"):
            here = ask(memos, fact, memory=memory)
            there = ask(remote, fact, "elsewhere", memory=memory)
            assert (there.text, there.finish) == (here.text, here.finish)
            assert there.usage.prompt_tokens == here.usage.prompt_tokens
            assert there.usage.completion_tokens == here.usage.completion_tokens
            assert {one.form for one in there.memories} <= {Form.PLAINTEXT}
    assert sum(right(ask(remote, fact, "elsewhere"), fact) for fact in FACTS) >= 7
    assert ids


def test_a_raw_prompt_is_the_whole_prompt(upstream: HttpDoor) -> None:
    tokenizer = ModelTokenizer(tiny_recall_path())
    known = "Memories:\n" + "".join(f"- {fact.text}\n" for fact in FACTS)
    with openai.OpenAI(base_url=f"{upstream.url}/v1", api_key=upstream.admin_key) as client:
        for fact in FACTS:
            turns = [ChatMessage("system", known), ChatMessage("user", fact.question)]
            written = client.completions.create(
                model=MODEL, prompt=tokenizer.render(turns), temperature=0, max_tokens=4
            )
            asked = client.chat.completions.create(
                model=MODEL,
                messages=[
                    {"role": "system", "content": known},
                    {"role": "user", "content": fact.question},
                ],
                temperature=0,
                max_tokens=4,
            )
            assert written.choices[0].text == asked.choices[0].message.content
            assert written.usage is not None and asked.usage is not None
            assert written.usage.prompt_tokens == asked.usage.prompt_tokens


def test_a_cache_gives_the_same_answers(memos: MemOS, ids: list[str]) -> None:
    made = memos.convert(ids, MODEL)
    texts = [ask(memos, fact) for fact in FACTS]
    assert all(answer.usage.cached_tokens >= 32 for answer in texts), texts
    assert all({one.form for one in answer.memories} == {Form.ACTIVATION} for answer in texts)
    assert sum(right(answer, fact) for answer, fact in zip(texts, FACTS, strict=True)) >= 7
    memos.delete(made.id or "")
    plain = [ask(memos, fact) for fact in FACTS]
    assert all({one.form for one in answer.memories} == {Form.PLAINTEXT} for answer in plain)
    memos.restore(made.id or "")


def replica_pid() -> int:
    """Returns the process that answers; a router may not have heard of a death yet."""
    deadline = time.monotonic() + 240
    while True:
        try:
            return asyncio.run(ModelHandle(MODEL).status()).pid
        except UnavailableError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_replica_that_is_killed_takes_nothing_with_it(memos: MemOS) -> None:
    (block,) = memos.kv.list()
    await_hot(memos, block.id)
    before = ask(memos, FACTS[0])
    pid = replica_pid()
    os.kill(pid, signal.SIGKILL)
    after = ask(memos, FACTS[0])
    assert replica_pid() != pid
    assert (after.text, after.usage.cached_tokens) == (before.text, before.usage.cached_tokens)


def shards(memos: MemOS) -> list[Mapping[str, object]]:
    """Returns what the shards say of themselves, as soon as all of them do."""
    deadline = time.monotonic() + 240
    while True:
        found = [one for one in memos.health().components if one.name.startswith("shard")]
        if found and all("pid" in one.detail for one in found):
            return [one.detail for one in found]
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def kv_bytes(memos: MemOS) -> int:
    return sum(int(str(shard["kv_bytes"])) for shard in shards(memos))


def test_a_conversation_goes_on_after_its_replica(memos: MemOS) -> None:
    # Each turn fills a block at least, so that each has a cache of its own.
    asked = " ".join(fact.question for fact in FACTS)
    turns: list[dict[str, str]] = []
    lengths: list[int] = []
    for number in range(4):
        turns.append({"role": "user", "content": asked})
        before = kv_bytes(memos)
        answer = memos.chat(turns, MODEL, session="talk", temperature=0.0, max_tokens=24)
        turns.append({"role": "assistant", "content": answer.text})
        if number:
            # All but what was said since, and the block that this does not fill.
            assert answer.usage.cached_tokens >= lengths[-1] - 32, (number, answer.usage)
        lengths.append(answer.usage.prompt_tokens)
        deadline = time.monotonic() + 240
        while kv_bytes(memos) <= before:
            assert time.monotonic() < deadline, "the turn has no cache"
            time.sleep(0.05)
        if number == 2:
            os.kill(replica_pid(), signal.SIGKILL)


def test_a_shard_that_is_killed_finds_the_cache_again(memos: MemOS) -> None:
    (block,) = [one for one in memos.kv.list() if one.state is CacheState.HOT]
    before = ask(memos, FACTS[0])
    for shard in shards(memos):
        os.kill(int(str(shard["pid"])), signal.SIGKILL)
    # The first prompt waits for the file, but not for long.
    assert ask(memos, FACTS[0]).text == before.text
    await_hot(memos, block.id)
    after = ask(memos, FACTS[0])
    assert (after.text, after.usage.cached_tokens) == (before.text, before.usage.cached_tokens)
    found = memos.kv.explain(block.id)
    assert found.state is CacheState.HOT and found.build_s == block.build_s, "not built again"


def test_a_cache_is_steered(memos: MemOS) -> None:
    (block,) = [one for one in memos.kv.list() if one.state is CacheState.HOT]
    memos.kv.pin(block.id)
    assert memos.kv.explain(block.id).pinned
    assert memos.kv.evict(block.id).state is CacheState.ABSENT
    ask(memos, FACTS[0])
    await_hot(memos, block.id)
    memos.kv.pin(block.id, pinned=False)


def test_a_changed_fact_is_answered_anew(memos: MemOS, ids: list[str]) -> None:
    old = FACTS[0]
    value = next(one for one in RELATIONS[old.relation].values if one != old.value)
    new = replace(old, value=value)
    memos.update(ids[0], new.text, mode="overwrite")
    answer = ask(memos, new)
    assert right(answer, new) and not right(answer, old)
    assert answer.memories[0].version >= 1
    assert {one.version for one in answer.memories if one.id == ids[0]} == {2}
