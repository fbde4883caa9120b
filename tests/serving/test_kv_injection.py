"""An answer with an injected KV cache is the answer to the same text, or the cache is not used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memos_ray.core.activation import KvLayout, Refusal, SourceVersion
from memos_ray.core.generation import FinishReason, GenerationRequest, Sampling
from memos_ray.errors import InvalidInputError
from memos_ray.serving.kv.canonical import Codec
from memos_ray.serving.kv.payload import KvPayload
from memos_ray.testing.engine_process import Answer, Asked, EngineProcess
from memos_ray.testing.random_models import Family, Size, write_model
from tests.serving.conftest import prompt, settings_of

MEMORY = prompt(512, seed=1)
LARGE_MEMORY = prompt(1280, seed=3)
QUESTION = prompt(9, seed=2)
GREEDY = Sampling(max_tokens=24, temperature=0.0, ignore_eos=True)
_numbers = iter(range(10**9))


def request(tokens: tuple[int, ...] = MEMORY + QUESTION, salt: str = "acme") -> GenerationRequest:
    return GenerationRequest(f"r{next(_numbers)}", tokens, GREEDY, salt)


def ask(
    engine: EngineProcess,
    kv: KvPayload | None = None,
    tokens: tuple[int, ...] = MEMORY + QUESTION,
    salt: str = "acme",
) -> Answer:
    """Asks an engine that remembers nothing by itself."""
    assert engine.forget()
    (answer,) = engine.ask([Asked(request(tokens, salt), kv)])
    return answer


@pytest.fixture(scope="module")
def plain(engine: EngineProcess) -> Answer:
    return ask(engine)


@pytest.fixture(scope="module")
def kv(engine: EngineProcess) -> KvPayload:
    return engine.export_kv(MEMORY, salt="acme", sources=(SourceVersion("m1", 3),))


def resealed(
    payload: KvPayload, ranks: list[np.ndarray[tuple[int], np.dtype[np.uint8]]]
) -> KvPayload:
    manifest = payload.manifest
    return KvPayload.seal(
        ranks,
        key=manifest.key,
        tokens=manifest.tokens,
        model=manifest.model,
        engine=manifest.engine,
        layout=manifest.layout,
    )


class TestIdentity:
    def test_the_cache_replaces_the_prompt(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        assert plain.kv.cached_tokens == 0
        assert (len(plain.tokens), plain.finish) == (24, FinishReason.LENGTH)
        answer = ask(engine, kv)
        assert answer.kv.loaded_tokens == len(MEMORY)
        assert answer.tokens == plain.tokens
        assert kv.manifest.sources == (SourceVersion("m1", 3),)

    def test_what_the_engine_has_itself_is_not_loaded_again(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        assert engine.forget()
        engine.ask([Asked(request(MEMORY[:128] + QUESTION))])
        (answer,) = engine.ask([Asked(request(), kv)])
        assert answer.kv.loaded_tokens == len(MEMORY) - 128
        assert answer.tokens == plain.tokens

    def test_it_travels_in_the_canonical_layout_too(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        codec = Codec(engine.fingerprint, 4)
        whole = codec.canonical(kv.ranks, kv.manifest.tokens)
        travelled = replace(resealed(kv, [whole]).manifest, layout=KvLayout.CANONICAL)
        answer = ask(engine, KvPayload(replace(travelled, engine="another"), (whole,)))
        assert (answer.kv.refused, answer.kv.loaded_tokens) == (None, len(MEMORY))
        assert answer.tokens == plain.tokens

    def test_many_streams_share_one_memory(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        assert engine.forget()
        answers = engine.ask([Asked(request(), kv) for _ in range(32)])
        assert {answer.tokens for answer in answers} == {plain.tokens}
        assert all(answer.kv.cached_tokens == len(MEMORY) for answer in answers)

    @pytest.mark.parametrize("family", [Family.QWEN2, Family.LLAMA])
    def test_other_architectures(self, family: Family, tmp_path: Path) -> None:
        folder = write_model(tmp_path / family, family)
        with EngineProcess(settings_of(folder)) as engine:
            kv = engine.export_kv(MEMORY, salt="acme")
            assert ask(engine, kv).kv.loaded_tokens == len(MEMORY)
            assert ask(engine, kv).tokens == ask(engine).tokens


class TestControls:
    """The cache is really used, and what does not fit is really refused."""

    def test_other_numbers_give_another_answer(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        numbers = kv.ranks[0].view(np.float32)[::-1].copy()
        answer = ask(engine, resealed(kv, [numbers.view(np.uint8)]))
        assert answer.kv.loaded_tokens == len(MEMORY)
        assert answer.tokens != plain.tokens

    def test_a_corrupted_cache_is_refused(self, engine: EngineProcess, plain: Answer) -> None:
        # One that the engine has not seen: what it has verified, it keeps.
        kv = engine.export_kv(MEMORY, salt="fresh")
        damaged = kv.ranks[0].copy()
        damaged[damaged.size // 2] ^= 1
        answer = ask(engine, KvPayload(kv.manifest, (damaged,)), salt="fresh")
        assert (answer.kv.refused, answer.kv.cached_tokens) == (Refusal.DIGEST, 0)
        assert answer.tokens == plain.tokens
        assert ask(engine, kv, salt="fresh").kv.loaded_tokens == len(MEMORY)

    def test_another_tenants_cache_is_refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        answer = ask(engine, kv, salt="rival")
        assert (answer.kv.refused, answer.kv.cached_tokens) == (Refusal.KEY, 0)
        assert answer.tokens == plain.tokens

    def test_a_cache_of_another_text_is_refused(self, engine: EngineProcess, kv: KvPayload) -> None:
        changed = (MEMORY[0] + 1, *MEMORY[1:], *QUESTION)
        answer = ask(engine, kv, changed)
        assert (answer.kv.refused, answer.kv.cached_tokens) == (Refusal.KEY, 0)
        assert answer.tokens == ask(engine, None, changed).tokens

    def test_a_cache_under_another_adapter_is_refused(
        self, engine: EngineProcess, plain: Answer
    ) -> None:
        adapted = engine.export_kv(MEMORY, salt="acme", adapter="a1")
        self._refused(engine, plain, adapted, Refusal.KEY)

    def test_a_cache_of_another_model_is_refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        other = KvPayload(replace(kv.manifest, model="another"), kv.ranks)
        self._refused(engine, plain, other, Refusal.MODEL)

    def test_a_cache_of_another_size_is_refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        short = resealed(kv, [kv.ranks[0][:-4].copy()])
        self._refused(engine, plain, short, Refusal.SIZE)

    def test_a_cache_of_the_whole_prompt_leaves_nothing_to_compute(
        self, engine: EngineProcess, kv: KvPayload
    ) -> None:
        answer = ask(engine, kv, MEMORY)
        assert answer.kv.refused == Refusal.TOKENS
        assert answer.tokens == ask(engine, None, MEMORY).tokens

    def _refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload, reason: Refusal
    ) -> None:
        answer = ask(engine, kv)
        assert (answer.kv.refused, answer.kv.cached_tokens) == (reason, 0)
        assert answer.tokens == plain.tokens


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    size = Size(hidden=256, layers=4, heads=4, kv_heads=4)
    folder = write_model(tmp_path_factory.mktemp("models") / "large", Family.QWEN3, size)
    with EngineProcess(settings_of(folder, kv_bytes=128 << 20)) as engine:
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


class TestBadInput:
    def test_an_empty_prompt(self, engine: EngineProcess) -> None:
        with pytest.raises(InvalidInputError, match="empty"):
            engine.ask([Asked(request(()))])

    def test_a_prompt_that_is_too_long(self, engine: EngineProcess) -> None:
        with pytest.raises(InvalidInputError, match="too long") as caught:
            engine.ask([Asked(request(prompt(2048, seed=4)))])
        assert caught.value.details == {"tokens": 2048, "limit": 2048}

    def test_a_sampling_out_of_range(self, engine: EngineProcess) -> None:
        wild = replace(request(), sampling=Sampling(temperature=-1.0))
        with pytest.raises(InvalidInputError, match="temperature"):
            engine.ask([Asked(wild)])

    def test_a_text_shorter_than_a_block(self, engine: EngineProcess) -> None:
        with pytest.raises(InvalidInputError, match="block"):
            engine.export_kv(QUESTION, salt="acme")


def test_a_cache_built_by_one_engine_serves_another(
    engine: EngineProcess, plain: Answer, folder: Path, tmp_path: Path
) -> None:
    """Here the other keeps its core in a process of its own."""
    kv = engine.export_kv(MEMORY, salt="acme")
    whole = Codec(engine.fingerprint, 4).canonical(kv.ranks, kv.manifest.tokens)
    manifest = replace(resealed(kv, [whole]).manifest, layout=KvLayout.CANONICAL)
    with EngineProcess(settings_of(folder), desk=str(tmp_path / "desk")) as other:
        assert other.fingerprint == engine.fingerprint
        answer = ask(other, kv)
        assert (answer.kv.loaded_tokens, answer.tokens) == (len(MEMORY), plain.tokens)
        answer = ask(other, KvPayload(manifest, (whole,)))
        assert (answer.kv.loaded_tokens, answer.tokens) == (len(MEMORY), plain.tokens)
