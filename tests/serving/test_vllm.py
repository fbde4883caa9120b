"""vLLM alone: architectures, large payloads, a core in its own process, several devices."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from memos_ray.config import ModelSettings
from memos_ray.core.activation import Bytes, KvPayload
from memos_ray.core.extraction.prompts import answer_schema
from memos_ray.core.generation import FinishReason, Sampling
from memos_ray.serving.kv.desk import open_desk
from memos_ray.serving.vllm_engine import VllmEngine
from memos_ray.testing.engine_process import Answer, Asked, EngineProcess
from memos_ray.testing.random_models import Family, Size, write_model
from tests.serving.asking import (
    GREEDY,
    MEMORY,
    QUESTION,
    ask,
    portable,
    prompt,
    request,
    segments,
)
from tests.serving.conftest import settings_of, vllm

LARGE_MEMORY = prompt(1280, seed=3)


@pytest.mark.parametrize("family", [Family.QWEN2, Family.LLAMA])
def test_other_architectures(family: Family, tmp_path: Path) -> None:
    folder = write_model(tmp_path / family, family)
    with vllm(folder) as engine:
        kv = engine.export_kv(MEMORY, salt="acme")
        answer = ask(engine, kv)
        assert answer.kv.loaded_tokens == len(MEMORY)
        assert answer.tokens == ask(engine).tokens


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = Size(hidden=256, layers=4, heads=4, kv_heads=4)
    return write_model(tmp_path_factory.mktemp("models") / "large", Family.QWEN3, size)


@pytest.fixture(scope="module")
def large(large_folder: Path) -> Iterator[EngineProcess]:
    with vllm(large_folder, kv_bytes=128 << 20) as engine:
        yield engine


@pytest.fixture(scope="module")
def apart(folder: Path) -> Iterator[EngineProcess]:
    """One whose core is a process of its own."""
    with vllm(folder, engine_process=True) as engine:
        yield engine


@pytest.fixture(params=["plain_vllm", "apart"], ids=["thread", "process"])
def either(request: pytest.FixtureRequest) -> EngineProcess:
    found: EngineProcess = request.getfixturevalue(request.param)
    return found


class TestLargePayloads:
    """Above a few megabytes a payload is copied beside the steps."""

    def test_the_answer_is_the_same(self, large: EngineProcess) -> None:
        tokens = LARGE_MEMORY + QUESTION
        plain = ask(large, tokens=tokens)
        kv = large.export_kv(LARGE_MEMORY, salt="acme")
        assert kv.manifest.size_bytes > 8 << 20
        answer = ask(large, kv, tokens=tokens)
        assert answer.kv.loaded_tokens == len(LARGE_MEMORY)
        assert answer.tokens == plain.tokens

    def test_segments_are_one_load(self, large: EngineProcess) -> None:
        tokens = LARGE_MEMORY + QUESTION
        plain = ask(large, tokens=tokens)
        kv = segments(large, 512, 544, 1280, tokens=LARGE_MEMORY)
        answer = ask(large, *kv, tokens=tokens)
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (len(LARGE_MEMORY), None)
        assert answer.tokens == plain.tokens

    def test_many_streams_load_it_once(self, large: EngineProcess) -> None:
        tokens = LARGE_MEMORY + QUESTION
        plain = ask(large, tokens=tokens)
        kv = tuple(segments(large, 512, 1280, tokens=LARGE_MEMORY))
        assert large.forget()
        answers = large.ask([Asked(request(tokens), kv) for _ in range(32)])
        assert sum(answer.kv.loaded_tokens for answer in answers) == len(LARGE_MEMORY)
        assert {answer.kv.cached_tokens for answer in answers} == {len(LARGE_MEMORY)}
        assert {answer.tokens for answer in answers} == {plain.tokens}

    def test_other_requests_go_on_meanwhile(self, large: EngineProcess) -> None:
        kv = large.export_kv(LARGE_MEMORY, salt="acme")
        plain = ask(large, tokens=QUESTION)
        assert large.forget()
        asked = [Asked(request(LARGE_MEMORY + QUESTION), (kv,)), Asked(request(QUESTION))]
        _, other = large.ask(asked)
        assert other.tokens == plain.tokens

    def test_many_share_one_copy(self, large: EngineProcess) -> None:
        kv = large.export_kv(LARGE_MEMORY, salt="acme")
        prompts = [LARGE_MEMORY + prompt(9, seed=20 + number) for number in range(6)]
        plain = [ask(large, tokens=tokens).tokens for tokens in prompts]
        assert large.forget()
        answers = large.ask([Asked(request(tokens), (kv,)) for tokens in prompts])
        assert [answer.tokens for answer in answers] == plain
        assert sum(answer.kv.loaded_tokens for answer in answers) == len(LARGE_MEMORY)
        assert {answer.kv.cached_tokens for answer in answers} == {len(LARGE_MEMORY)}
        assert large.forget()


def forgetful(settings: ModelSettings) -> VllmEngine:
    """Makes an engine whose second payload goes away between its check and its copy."""
    engine = VllmEngine(settings)
    desk = open_desk("local")
    whole, looks = desk.look, list[str]()

    def look(name: str, rank: int) -> Bytes | None:
        checked = name in looks
        looks.append(name)
        lost = checked and name == list(dict.fromkeys(looks))[1]
        return None if lost else whole(name, rank)

    desk.look = look  # type: ignore[method-assign]
    return engine


class TestLostPayloads:
    def test_what_a_load_lacks_is_computed(self, folder: Path, plain_vllm: EngineProcess) -> None:
        kv, plain = segments(plain_vllm, 128, 320, 512), ask(plain_vllm)
        self._recomputed(folder, kv, MEMORY + QUESTION, plain)

    def test_beside_the_steps(self, large: EngineProcess, large_folder: Path) -> None:
        tokens = LARGE_MEMORY + QUESTION
        kv, plain = segments(large, 512, 544, 1280, tokens=LARGE_MEMORY), ask(large, tokens=tokens)
        self._recomputed(large_folder, kv, tokens, plain)

    def _recomputed(
        self, folder: Path, kv: list[KvPayload], tokens: tuple[int, ...], plain: Answer
    ) -> None:
        settings = settings_of(folder, kv_bytes=128 << 20)
        with EngineProcess(partial(forgetful, settings)) as engine:
            (answer, again) = (engine.ask([Asked(request(tokens), tuple(kv))])[0] for _ in range(2))
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (kv[0].manifest.tokens, "lost")
        assert answer.kv.cached_tokens == kv[0].manifest.tokens
        assert answer.tokens == plain.tokens
        # What was recomputed is right, and stays.
        assert again.kv.cached_tokens == kv[-1].manifest.tokens
        assert again.tokens == plain.tokens


def test_leaving_early_frees_the_blocks(either: EngineProcess) -> None:
    endless = replace(request(), sampling=replace(GREEDY, max_tokens=1500))
    assert either.leave(endless, parts=2)
    # Others take a few steps each; what was left would take hundreds more.
    for _ in range(50):
        if either.forget():
            return
        either.ask([Asked(replace(request(QUESTION), sampling=Sampling(max_tokens=1)))])
    pytest.fail("the blocks are still held")


def test_READ_3_an_answer_keeps_to_its_schema(plain_vllm: EngineProcess) -> None:
    """A model with random weights has no other way to write JSON."""
    kinds = {"type": "string", "enum": ["fact", "episode"]}
    schema = {
        "type": "object",
        "properties": {"kind": kinds, "end": {"type": ["null"]}},
        "required": ["kind", "end"],
        "additionalProperties": False,
    }
    held = replace(GREEDY, max_tokens=64, ignore_eos=False, json_schema=json.dumps(schema))
    (answer,) = plain_vllm.ask([Asked(replace(request(QUESTION), sampling=held))])
    said = json.loads(answer.text)
    assert said in ({"kind": "fact", "end": None}, {"kind": "episode", "end": None})
    assert answer.finish is FinishReason.STOP
    # That of extraction is taken, too.
    wanted = replace(held, json_schema=json.dumps(answer_schema()))
    (begun,) = plain_vllm.ask([Asked(replace(request(QUESTION), sampling=wanted))])
    assert begun.text.startswith('{"memories":[')


@pytest.mark.parametrize("place", ["thread", "process"])
def test_an_engine_that_dies_tells_everybody(folder: Path, place: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.serving.engine_death", str(folder), place],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told == {
        "under way": ["UnavailableError"] * 4,
        "last": "UnavailableError",
        "later": "UnavailableError",
        "forget": "UnavailableError",
        "healthy": [True, False],
    }


def test_a_cache_travels_between_engines(
    folder: Path, plain_vllm: EngineProcess, apart: EngineProcess
) -> None:
    """One keeps its core in its process, one in another; then two devices share the model."""
    plain, kv = ask(plain_vllm), plain_vllm.export_kv(MEMORY, salt="acme")
    anywhere = portable(kv, plain_vllm.fingerprint)
    parts = segments(plain_vllm, 192, 512)
    assert apart.fingerprint == plain_vllm.fingerprint
    for each in ([kv], [anywhere], parts):
        answer = ask(apart, *each)
        assert (answer.kv.loaded_tokens, answer.tokens) == (len(MEMORY), plain.tokens)
    with vllm(folder, engine_process=True, tensor_parallel=2) as parallel:
        alone = ask(parallel)
        own = parallel.export_kv(MEMORY, salt="acme")
        assert len(own.ranks) == 2
        for caches in ([own], [anywhere], segments(parallel, 192, 512)):
            answer = ask(parallel, *caches)
            assert (answer.kv.loaded_tokens, answer.tokens) == (len(MEMORY), alone.tokens)
        assert ask(parallel, kv).kv.refused == "engine"
