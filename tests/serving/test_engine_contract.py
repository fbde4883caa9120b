"""Every engine: with a KV cache the answer is that of the same text, or the cache is not used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from memos_ray.core.activation import KvPayload, Refusal, SourceVersion
from memos_ray.core.generation import FinishReason, Sampling
from memos_ray.errors import InvalidInputError
from memos_ray.testing.engine_process import Answer, Asked, EngineProcess
from tests.serving.asking import MEMORY, QUESTION, ask, portable, prompt, request, resealed


@pytest.fixture(scope="module")
def plain(engine: EngineProcess) -> Answer:
    return ask(engine)


@pytest.fixture(scope="module")
def kv(engine: EngineProcess) -> KvPayload:
    return engine.export_kv(MEMORY, salt="acme", sources=(SourceVersion("m1", 3),))


class TestIdentity:
    def test_SERVE_1_the_cache_replaces_the_prompt(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        assert plain.kv.cached_tokens == 0
        assert (len(plain.tokens), plain.finish) == (24, FinishReason.LENGTH)
        answer = ask(engine, kv)
        assert answer.kv.loaded_tokens == len(MEMORY)
        assert answer.tokens == plain.tokens
        assert kv.manifest.sources == (SourceVersion("m1", 3),)

    def test_SERVE_1_what_the_engine_has_itself_is_not_loaded_again(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        assert engine.forget()
        engine.ask([Asked(request(MEMORY[:128] + QUESTION))])
        (answer,) = engine.ask([Asked(request(), (kv,))])
        assert answer.kv.loaded_tokens == len(MEMORY) - 128
        assert answer.tokens == plain.tokens

    def test_SERVE_1_it_travels_in_the_canonical_layout_too(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        answer = ask(engine, portable(kv, engine.fingerprint))
        assert (answer.kv.refused, answer.kv.loaded_tokens) == (None, len(MEMORY))
        assert answer.tokens == plain.tokens

    def test_SERVE_1_many_streams_share_one_memory(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        assert engine.forget()
        answers = engine.ask([Asked(request(), (kv,)) for _ in range(32)])
        assert {answer.tokens for answer in answers} == {plain.tokens}
        assert all(answer.kv.cached_tokens == len(MEMORY) for answer in answers)


class TestControls:
    """The cache is really used, and what does not fit is really refused."""

    def test_SERVE_1_other_numbers_give_another_answer(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        numbers = kv.ranks[0].view(np.float32)[::-1].copy()
        answer = ask(engine, resealed(kv, [numbers.view(np.uint8)]))
        assert answer.kv.loaded_tokens == len(MEMORY)
        assert answer.tokens != plain.tokens

    def test_SERVE_1_a_corrupted_cache_is_refused(
        self, engine: EngineProcess, plain: Answer
    ) -> None:
        # One that the engine has not seen: what it has verified, it keeps.
        kv = engine.export_kv(MEMORY, salt="fresh")
        damaged = kv.ranks[0].copy()
        damaged[damaged.size // 2] ^= 1
        answer = ask(engine, KvPayload(kv.manifest, (damaged,)), salt="fresh")
        assert (answer.kv.refused, answer.kv.cached_tokens) == (Refusal.DIGEST, 0)
        assert answer.tokens == plain.tokens
        assert ask(engine, kv, salt="fresh").kv.loaded_tokens == len(MEMORY)

    def test_SERVE_1_another_tenants_cache_is_refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        answer = ask(engine, kv, salt="rival")
        assert (answer.kv.refused, answer.kv.cached_tokens) == (Refusal.KEY, 0)
        assert answer.tokens == plain.tokens

    def test_SERVE_1_a_cache_of_another_text_is_refused(
        self, engine: EngineProcess, kv: KvPayload
    ) -> None:
        changed = (MEMORY[0] + 1, *MEMORY[1:], *QUESTION)
        answer = ask(engine, kv, tokens=changed)
        assert (answer.kv.refused, answer.kv.cached_tokens) == (Refusal.KEY, 0)
        assert answer.tokens == ask(engine, tokens=changed).tokens

    def test_SERVE_1_a_cache_of_another_model_is_refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        other = KvPayload(replace(kv.manifest, model="another"), kv.ranks)
        self._refused(engine, plain, other, Refusal.MODEL)

    def test_SERVE_1_a_cache_of_another_size_is_refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload
    ) -> None:
        short = resealed(kv, [kv.ranks[0][:-4].copy()])
        self._refused(engine, plain, short, Refusal.SIZE)

    def _refused(
        self, engine: EngineProcess, plain: Answer, kv: KvPayload, reason: Refusal
    ) -> None:
        answer = ask(engine, kv)
        assert (answer.kv.refused, answer.kv.cached_tokens) == (reason, 0)
        assert answer.tokens == plain.tokens


class TestBadInput:
    def test_SERVE_1_an_empty_prompt(self, engine: EngineProcess) -> None:
        with pytest.raises(InvalidInputError, match="empty"):
            engine.ask([Asked(request(()))])

    def test_SERVE_1_a_prompt_that_is_too_long(self, engine: EngineProcess) -> None:
        with pytest.raises(InvalidInputError, match="too long") as caught:
            engine.ask([Asked(request(prompt(2048, seed=4)))])
        assert caught.value.details == {"tokens": 2048, "limit": 2048}

    def test_SERVE_1_a_sampling_out_of_range(self, engine: EngineProcess) -> None:
        wild = replace(request(), sampling=Sampling(temperature=-1.0))
        with pytest.raises(InvalidInputError, match="temperature"):
            engine.ask([Asked(wild)])

    def test_SERVE_1_a_text_shorter_than_a_block(self, engine: EngineProcess) -> None:
        with pytest.raises(InvalidInputError, match="block"):
            engine.export_kv(QUESTION, salt="acme")
