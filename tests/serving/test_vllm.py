"""vLLM alone: architectures, large payloads, a core in its own process, several devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memos_ray.testing.engine_process import Asked, EngineProcess
from memos_ray.testing.random_models import Family, Size, write_model
from tests.serving.asking import MEMORY, QUESTION, ask, portable, prompt, request
from tests.serving.conftest import vllm

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
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    size = Size(hidden=256, layers=4, heads=4, kv_heads=4)
    folder = write_model(tmp_path_factory.mktemp("models") / "large", Family.QWEN3, size)
    with vllm(folder, kv_bytes=128 << 20) as engine:
        yield engine


class TestLargePayloads:
    """Above a few megabytes a payload is copied beside the steps."""

    def test_the_answer_is_the_same(self, large: EngineProcess) -> None:
        tokens = LARGE_MEMORY + QUESTION
        plain = ask(large, None, tokens)
        kv = large.export_kv(LARGE_MEMORY, salt="acme")
        assert kv.manifest.size_bytes > 8 << 20
        answer = ask(large, kv, tokens)
        assert answer.kv.loaded_tokens == len(LARGE_MEMORY)
        assert answer.tokens == plain.tokens

    def test_other_requests_go_on_meanwhile(self, large: EngineProcess) -> None:
        kv = large.export_kv(LARGE_MEMORY, salt="acme")
        plain = ask(large, None, QUESTION)
        assert large.forget()
        asked = [Asked(request(LARGE_MEMORY + QUESTION), kv), Asked(request(QUESTION))]
        _, other = large.ask(asked)
        assert other.tokens == plain.tokens

    def test_many_share_one_copy(self, large: EngineProcess) -> None:
        kv = large.export_kv(LARGE_MEMORY, salt="acme")
        prompts = [LARGE_MEMORY + prompt(9, seed=20 + number) for number in range(6)]
        plain = [ask(large, None, tokens).tokens for tokens in prompts]
        assert large.forget()
        answers = large.ask([Asked(request(tokens), kv) for tokens in prompts])
        assert [answer.tokens for answer in answers] == plain
        assert sum(answer.kv.loaded_tokens for answer in answers) == len(LARGE_MEMORY)
        assert {answer.kv.cached_tokens for answer in answers} == {len(LARGE_MEMORY)}
        assert large.forget()


def test_a_cache_travels_between_engines(folder: Path) -> None:
    """One keeps its core in this process, one in another; then two devices share the model."""
    with vllm(folder) as first:
        plain, kv = ask(first), first.export_kv(MEMORY, salt="acme")
        anywhere = portable(kv, first.fingerprint)
        with vllm(folder, engine_process=True) as second:
            assert second.fingerprint == first.fingerprint
            for each in (kv, anywhere):
                answer = ask(second, each)
                assert (answer.kv.loaded_tokens, answer.tokens) == (len(MEMORY), plain.tokens)
    with vllm(folder, engine_process=True, tensor_parallel=2) as parallel:
        alone = ask(parallel)
        own = parallel.export_kv(MEMORY, salt="acme")
        assert len(own.ranks) == 2
        for each in (own, anywhere):
            answer = ask(parallel, each)
            assert (answer.kv.loaded_tokens, answer.tokens) == (len(MEMORY), alone.tokens)
        assert ask(parallel, kv).kv.refused == "engine"
