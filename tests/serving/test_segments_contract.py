"""Every engine: caches in segments give the answer of the text, as far as they can be proven."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memos_ray.core.activation import KvPayload, Refusal
from memos_ray.errors import InvalidInputError
from memos_ray.testing.engine_process import Answer, Asked, EngineProcess
from memos_ray.testing.engines import HashingEngine
from tests.serving.asking import (
    MEMORY,
    QUESTION,
    ask,
    portable,
    prompt,
    request,
    resealed,
    segments,
)
from tests.serving.conftest import vllm

LONG_QUESTION = prompt(600, seed=5)


@pytest.fixture(scope="module")
def plain(engine: EngineProcess) -> Answer:
    return ask(engine)


@pytest.fixture(scope="module")
def three(engine: EngineProcess) -> list[KvPayload]:
    return segments(engine, 128, 320, 512)


class TestIdentity:
    @pytest.mark.parametrize("ends", [(256, 512), (32, 320, 512)])
    def test_SERVE_1_segments_replace_the_prompt(
        self, engine: EngineProcess, plain: Answer, ends: tuple[int, ...]
    ) -> None:
        found = segments(engine, *ends)
        assert [one.manifest.start for one in found] == [0, *ends[:-1]]
        whole = engine.export_kv(MEMORY, salt="acme").manifest
        assert sum(one.manifest.size_bytes for one in found) == whole.size_bytes
        assert found[-1].manifest.key == whole.key
        answer = ask(engine, *reversed(found))
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (len(MEMORY), None)
        assert answer.tokens == plain.tokens

    def test_SERVE_1_all_of_them_are_needed(
        self, engine: EngineProcess, plain: Answer, three: list[KvPayload]
    ) -> None:
        for place in range(3):
            spoilt = list(three)
            spoilt[place] = resealed(three[place], [three[place].ranks[0][::-1].copy()])
            answer = ask(engine, *spoilt)
            assert answer.kv.loaded_tokens == len(MEMORY)
            assert answer.tokens != plain.tokens

    def test_SERVE_1_they_travel_in_the_canonical_layout_too(
        self, engine: EngineProcess, plain: Answer, three: list[KvPayload]
    ) -> None:
        mixed = [portable(one, engine.fingerprint) for one in three[1:]]
        answer = ask(engine, three[0], *mixed)
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (len(MEMORY), None)
        assert answer.tokens == plain.tokens

    def test_SERVE_1_what_overlaps_is_loaded_once(
        self, engine: EngineProcess, plain: Answer, three: list[KvPayload]
    ) -> None:
        wide = engine.export_kv(MEMORY[:416], salt="acme", start=64)
        answer = ask(engine, wide, *three)
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (len(MEMORY), None)
        assert answer.tokens == plain.tokens

    def test_SERVE_1_a_prompt_is_computed_in_chunks_behind_them(
        self, engine: EngineProcess, three: list[KvPayload]
    ) -> None:
        tokens = MEMORY + LONG_QUESTION
        answer = ask(engine, *three, tokens=tokens)
        assert answer.kv.cached_tokens == answer.kv.loaded_tokens == len(MEMORY)
        assert answer.tokens == ask(engine, tokens=tokens).tokens

    @pytest.mark.parametrize("given", [slice(None), slice(2, None)])
    def test_SERVE_1_they_follow_on_what_the_engine_has(
        self, engine: EngineProcess, plain: Answer, three: list[KvPayload], given: slice
    ) -> None:
        assert engine.forget()
        engine.ask([Asked(request(MEMORY[:384] + QUESTION))])
        (answer,) = engine.ask([Asked(request(), tuple(three[given]))])
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (len(MEMORY) - 384, None)
        assert answer.kv.cached_tokens == len(MEMORY)
        assert answer.tokens == plain.tokens


def damaged(one: KvPayload) -> KvPayload:
    bytes_ = one.ranks[0].copy()
    bytes_[bytes_.size // 2] ^= 1
    return KvPayload(one.manifest, (bytes_,))


def claiming(one: KvPayload, **changes: Any) -> KvPayload:
    return KvPayload(replace(one.manifest, **changes), one.ranks)


class TestBadSegments:
    """What lies before a bad segment is loaded, nothing behind it, and the answer is the same."""

    @pytest.mark.parametrize(
        ("spoil", "why"),
        [
            pytest.param(damaged, Refusal.DIGEST, id="damaged"),
            pytest.param(lambda one: claiming(one, start=160), Refusal.SIZE, id="short"),
            pytest.param(lambda one: claiming(one, start=130), Refusal.TOKENS, id="within a block"),
            pytest.param(
                lambda one: claiming(one, start=96, tokens=288), Refusal.KEY, id="moved forward"
            ),
            pytest.param(
                lambda one: claiming(one, start=160, tokens=352), Refusal.KEY, id="moved back"
            ),
            pytest.param(lambda one: claiming(one, model="another"), Refusal.MODEL, id="model"),
        ],
    )
    def test_SERVE_1_one_in_the_middle(
        self,
        engine: EngineProcess,
        plain: Answer,
        request: pytest.FixtureRequest,
        spoil: Callable[[KvPayload], KvPayload],
        why: Refusal,
    ) -> None:
        # Under a salt of its own: what an engine has verified, it keeps.
        salt = request.node.name
        first, middle, last = segments(engine, 128, 320, 512, salt=salt)
        answer = ask(engine, first, spoil(middle), last, salt=salt)
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (128, why)
        assert answer.kv.cached_tokens == 128
        assert answer.tokens == plain.tokens

    def test_SERVE_1_one_of_another_tenant(
        self, engine: EngineProcess, plain: Answer, three: list[KvPayload]
    ) -> None:
        foreign = engine.export_kv(MEMORY[:320], salt="rival", start=128)
        answer = ask(engine, three[0], foreign, three[2])
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (128, Refusal.KEY)
        assert answer.tokens == plain.tokens

    def test_SERVE_1_one_of_another_conversation(
        self, engine: EngineProcess, plain: Answer
    ) -> None:
        other = (MEMORY[0] + 1, *MEMORY[1:320])
        first, _, last = segments(engine, 128, 320, 512)
        forked = engine.export_kv(other, salt="acme", start=128)
        answer = ask(engine, first, forked, last)
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (128, Refusal.KEY)
        assert answer.tokens == plain.tokens

    def test_SERVE_1_one_that_is_missing(
        self, engine: EngineProcess, plain: Answer, three: list[KvPayload]
    ) -> None:
        answer = ask(engine, three[0], three[2])
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (128, Refusal.GAP)
        assert answer.tokens == plain.tokens
        answer = ask(engine, *three[1:])
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (0, Refusal.GAP)
        assert answer.tokens == plain.tokens


class TestLongestStoredPrefix:
    """A payload may know more than a prompt has in common with it."""

    @pytest.mark.parametrize("ends", [(512,), (128, 320, 512)])
    @pytest.mark.parametrize("common", [287, 288, 300, 319])
    def test_SERVE_1_of_a_text_that_goes_on_otherwise(
        self, engine: EngineProcess, ends: tuple[int, ...], common: int
    ) -> None:
        tokens = (*MEMORY[:common], MEMORY[common] + 1, *MEMORY[common + 1 :], *QUESTION)
        answer = ask(engine, *segments(engine, *ends), tokens=tokens)
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (common // 32 * 32, Refusal.KEY)
        assert answer.tokens == ask(engine, tokens=tokens).tokens

    @pytest.mark.parametrize(("length", "loaded"), [(400, 384), (385, 384), (384, 352), (512, 480)])
    def test_SERVE_1_of_a_text_that_ends_before_it(
        self, engine: EngineProcess, length: int, loaded: int
    ) -> None:
        """At least one token is computed, to predict from."""
        kv = engine.export_kv(MEMORY, salt="acme")
        answer = ask(engine, kv, tokens=MEMORY[:length])
        assert (answer.kv.loaded_tokens, answer.kv.refused) == (loaded, None)
        assert answer.tokens == ask(engine, tokens=MEMORY[:length]).tokens

    def test_SERVE_1_what_cannot_be_proven_is_refused(self, engine: EngineProcess) -> None:
        silent = claiming(engine.export_kv(MEMORY, salt="acme"), links="")
        for tokens in (MEMORY[:400], MEMORY[:-1] + QUESTION):
            answer = ask(engine, silent, tokens=tokens)
            assert (answer.kv.loaded_tokens, answer.kv.refused) == (0, Refusal.KEY)
        assert ask(engine, silent, tokens=MEMORY).kv.loaded_tokens == 480
        assert ask(engine, silent).kv.loaded_tokens == len(MEMORY)


class TestSharing:
    def test_SERVE_1_many_streams_load_one_memory_once(
        self, engine: EngineProcess, plain: Answer, three: list[KvPayload]
    ) -> None:
        assert engine.forget()
        answers = engine.ask([Asked(request(), tuple(three)) for _ in range(32)])
        assert computed(answers) == 32 * len(QUESTION)
        assert sum(answer.kv.loaded_tokens for answer in answers) == len(MEMORY)
        assert {answer.tokens for answer in answers} == {plain.tokens}

    def test_SERVE_1_many_streams_compute_one_memory_once(
        self, engine: EngineProcess, plain: Answer
    ) -> None:
        assert engine.forget()
        answers = engine.ask([Asked(request()) for _ in range(32)])
        assert computed(answers) == len(MEMORY) + 32 * len(QUESTION)
        assert {answer.tokens for answer in answers} == {plain.tokens}


def computed(answers: list[Answer]) -> int:
    return sum(answer.kv.prompt_tokens - answer.kv.cached_tokens for answer in answers)


@pytest.fixture(scope="module", params=["fake", "vllm"])
def pair(
    request: pytest.FixtureRequest, folder: Path
) -> Iterator[tuple[EngineProcess, EngineProcess]]:
    if request.param == "vllm":
        with vllm(folder) as other:
            yield request.getfixturevalue("plain_vllm"), other
        return
    with EngineProcess(HashingEngine) as one, EngineProcess(HashingEngine) as other:
        yield one, other


class TestConversations:
    def test_SERVE_1_it_goes_on_elsewhere_turn_by_turn(
        self, pair: tuple[EngineProcess, EngineProcess]
    ) -> None:
        one, other = pair
        said, kept = prompt(150, seed=10), list[KvPayload]()
        for turn in range(4):
            said += prompt(40 + turn, seed=11 + turn)
            (answer,) = one.ask([Asked(request(said))])
            said += answer.tokens
            start = kept[-1].manifest.tokens if kept else 0
            kept.append(one.export_kv(said, salt="acme", start=start))
        assert sum(one.manifest.held_tokens for one in kept) == len(said) // 32 * 32
        # The other engine has seen nothing of it.
        said += QUESTION
        (answer,) = other.ask([Asked(request(said), tuple(kept))])
        assert answer.kv.refused is None
        assert answer.kv.cached_tokens == answer.kv.loaded_tokens == kept[-1].manifest.tokens
        assert computed([answer]) < 32 + len(QUESTION)
        assert answer.tokens == ask(other, tokens=said).tokens


class TestBadInput:
    @pytest.mark.parametrize("start", [512, 544, 1024])
    def test_SERVE_1_nothing_is_behind_the_start(self, engine: EngineProcess, start: int) -> None:
        with pytest.raises(InvalidInputError, match="block") as caught:
            engine.export_kv(MEMORY + QUESTION, salt="acme", start=start)
        assert caught.value.details["start"] == start

    @pytest.mark.parametrize("start", [1, -32])
    def test_SERVE_1_no_block_begins_at_the_start(self, engine: EngineProcess, start: int) -> None:
        with pytest.raises(InvalidInputError, match="no KV block begins"):
            engine.export_kv(MEMORY, salt="acme", start=start)

    def test_SERVE_1_a_text_that_is_too_long(self, engine: EngineProcess) -> None:
        with pytest.raises(InvalidInputError, match="too long"):
            engine.export_kv(prompt(2048, seed=4), salt="acme", start=1024)
