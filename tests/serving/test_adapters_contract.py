"""Every engine: an answer is that of the very adapter that was asked for, or there is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from memos_ray.core.activation import KvPayload, Refusal
from memos_ray.core.generation import GenerationRequest
from memos_ray.core.parameter import AdapterPayload
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.serving.model_files import layer_shapes
from memos_ray.testing.engine_process import Asked, EngineProcess
from memos_ray.testing.engines import HASHING_SHAPES, HashingEngine
from memos_ray.testing.merged_model import MergedModel
from memos_ray.testing.random_adapters import random_tensors, sealed
from tests.serving.adapting import Base, with_adapter
from tests.serving.asking import MEMORY, QUESTION, prompt
from tests.serving.conftest import vllm

SLOTS = 3
HOST_ADAPTERS = 6
Right = Callable[[tuple[int, ...], AdapterPayload | None], tuple[int, ...]]


@pytest.fixture(scope="module", params=["fake", "vllm"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def host_bytes(kind: str, folder: Path) -> int:
    shapes = HASHING_SHAPES if kind == "fake" else layer_shapes(folder)
    return HOST_ADAPTERS * Base("any", shapes).adapter(0).data.size + 1000  # type: ignore[arg-type]


def hashing(host_bytes: int) -> HashingEngine:
    return HashingEngine(adapter_slots=SLOTS, adapter_host_bytes=host_bytes)


@pytest.fixture(scope="module")
def engine(kind: str, folder: Path, host_bytes: int) -> Iterator[EngineProcess]:
    if kind == "fake":
        process = EngineProcess(partial(hashing, host_bytes))
    else:
        process = vllm(folder, adapter_slots=SLOTS, adapter_host_bytes=host_bytes)
    with process as engine:
        yield engine


@pytest.fixture(scope="module")
def base(kind: str, engine: EngineProcess, folder: Path) -> Base:
    shapes = HASHING_SHAPES if kind == "fake" else layer_shapes(folder)
    return Base(engine.fingerprint.model.weights, shapes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def right(kind: str, folder: Path) -> Iterator[Right]:
    """What must be answered: computed apart from the engine that is tested."""
    if kind == "vllm":
        yield MergedModel(folder).answer
        return
    with EngineProcess(HashingEngine) as alone:

        def answer(tokens: tuple[int, ...], adapter: AdapterPayload | None) -> tuple[int, ...]:
            if adapter is not None:
                for other in alone.adapters:
                    alone.drop_adapter(other)
                alone.load_adapter(adapter)
            (found,) = alone.ask([Asked(with_adapter(tokens, adapter))])
            return found.tokens

        yield answer


@pytest.fixture(autouse=True)
def empty(engine: EngineProcess) -> None:
    for digest in engine.adapters:
        engine.drop_adapter(digest)
    assert engine.adapters == {}
    assert engine.forget()


def answer(
    engine: EngineProcess, adapter: AdapterPayload | None, tokens: tuple[int, ...] = QUESTION
) -> tuple[int, ...]:
    (found,) = engine.ask([Asked(with_adapter(tokens, adapter))])
    return found.tokens


class TestRightAdapter:
    def test_SERVE_1_each_answers_as_its_weights_say(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        adapters = [base.adapter(seed) for seed in range(SLOTS)]
        for adapter in adapters:
            engine.load_adapter(adapter)
        expected = [right(QUESTION, adapter) for adapter in [*adapters, None]]
        assert len(set(expected)) == SLOTS + 1
        assert [answer(engine, adapter) for adapter in [*adapters, None]] == expected

    def test_SERVE_1_in_one_batch_with_all_slots_taken(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        adapters = [*(base.adapter(seed) for seed in range(SLOTS)), None]
        chosen, asked, expected = random.Random(1), list[Asked](), list[tuple[int, ...]]()
        for number in range(40):
            tokens = prompt(5 + number % 20, seed=100 + number)
            adapter = chosen.choice(adapters)
            asked.append(Asked(with_adapter(tokens, adapter), adapter=adapter))
            expected.append(right(tokens, adapter))
        assert [found.tokens for found in engine.ask(asked)] == expected

    def test_SERVE_1_more_than_there_are_slots_and_room(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        """Hot loads, evictions and waiting, while others stream."""
        adapters = [*(base.adapter(seed) for seed in range(3 * HOST_ADAPTERS)), None]
        asked, expected = list[Asked](), list[tuple[int, ...]]()
        for number in range(60):
            adapter = adapters[number * 7 % len(adapters)]
            tokens = prompt(6, seed=number)
            asked.append(Asked(with_adapter(tokens, adapter), adapter=adapter))
            expected.append(right(tokens, adapter))
        assert [found.tokens for found in engine.ask(asked)] == expected
        assert len(engine.adapters) <= HOST_ADAPTERS

    def test_SERVE_1_long_answers_go_on_while_others_are_loaded(
        self, engine: EngineProcess, base: Base
    ) -> None:
        first, *others = [base.adapter(seed) for seed in range(SLOTS + 2)]
        asked = [Asked(with_adapter(QUESTION, first, 200), adapter=first)]
        (alone,) = engine.ask(asked)
        assert engine.forget()
        asked += [Asked(with_adapter(QUESTION, one, 20), adapter=one) for one in others]
        together = engine.ask([replace(one, request=again(one)) for one in asked])
        assert together[0].tokens == alone.tokens
        assert len({found.tokens[:20] for found in together}) == SLOTS + 2


def again(asked: Asked) -> GenerationRequest:
    return with_adapter(asked.request.tokens, asked.adapter, asked.request.sampling.max_tokens)


class TestWhatIsHeld:
    def test_SERVE_1_the_least_recently_used_goes(self, engine: EngineProcess, base: Base) -> None:
        adapters = [base.adapter(seed) for seed in range(HOST_ADAPTERS + 1)]
        names = [one.manifest.digest for one in adapters]
        for adapter in adapters[:-1]:
            engine.load_adapter(adapter)
        assert set(engine.adapters) == set(names[:-1])
        answer(engine, adapters[0])
        engine.load_adapter(adapters[-1])
        assert set(engine.adapters) == {names[0], *names[2:]}
        with pytest.raises(NotFoundError):
            answer(engine, adapters[1])

    def test_SERVE_1_what_is_pinned_stays(self, engine: EngineProcess, base: Base) -> None:
        adapters = [base.adapter(seed) for seed in range(HOST_ADAPTERS + 3)]
        engine.load_adapter(adapters[0], pinned=True)
        for adapter in adapters[1:]:
            engine.load_adapter(adapter)
            answer(engine, adapter)
        assert engine.adapters[adapters[0].manifest.digest]
        assert len(engine.adapters) == HOST_ADAPTERS
        engine.load_adapter(adapters[0])
        assert not engine.adapters[adapters[0].manifest.digest]

    def test_SERVE_1_one_slot_is_left_for_those_that_are_not(
        self, engine: EngineProcess, base: Base
    ) -> None:
        for seed in range(SLOTS - 1):
            engine.load_adapter(base.adapter(seed), pinned=True)
        with pytest.raises(InvalidInputError) as caught:
            engine.load_adapter(base.adapter(SLOTS), pinned=True)
        assert caught.value.details["reason"] == "pins"
        assert answer_of_new(engine, base.adapter(SLOTS + 1))

    def test_SERVE_1_an_unknown_one_is_told_and_harms_nobody(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        with pytest.raises(NotFoundError) as caught:
            answer(engine, base.adapter(77))
        assert caught.value.details["adapter"] == base.adapter(77).manifest.digest
        with pytest.raises(NotFoundError):
            engine.export_kv(MEMORY, salt="acme", adapter="unknown")
        assert answer(engine, None) == right(QUESTION, None)

    def test_SERVE_1_a_dropped_one_is_gone_and_can_come_back(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        adapter = base.adapter(0)
        engine.load_adapter(adapter)
        engine.drop_adapter(adapter.manifest.digest)
        engine.drop_adapter(adapter.manifest.digest)
        with pytest.raises(NotFoundError):
            answer(engine, adapter)
        assert answer_of_new(engine, adapter) == right(QUESTION, adapter)

    def test_SERVE_1_leaving_early_frees_the_slot(self, engine: EngineProcess, base: Base) -> None:
        adapters = [base.adapter(seed) for seed in range(SLOTS + 1)]
        for adapter in adapters:
            engine.load_adapter(adapter)
        for adapter in adapters:
            engine.leave(with_adapter(QUESTION, adapter, 1500), parts=1)
        assert len({answer(engine, adapter) for adapter in adapters}) == SLOTS + 1


def answer_of_new(engine: EngineProcess, adapter: AdapterPayload) -> tuple[int, ...]:
    engine.load_adapter(adapter)
    return answer(engine, adapter)


class TestRefusals:
    """Nothing of these reaches an engine, and it goes on."""

    def refused(self, engine: EngineProcess, payload: AdapterPayload, reason: str) -> None:
        with pytest.raises(InvalidInputError) as caught:
            engine.load_adapter(payload)
        assert caught.value.details["reason"] == reason
        assert engine.adapters == {}

    def test_SERVE_1_of_another_model(self, engine: EngineProcess, base: Base) -> None:
        self.refused(engine, replace(base, digest="another").adapter(0), "base")

    def test_SERVE_1_of_a_rank_too_large(self, engine: EngineProcess, base: Base) -> None:
        self.refused(engine, base.adapter(0, rank=17), "rank")

    def test_SERVE_1_too_large(self, engine: EngineProcess, base: Base) -> None:
        large = base.adapter(0)
        data = np.concatenate([large.data] * (HOST_ADAPTERS + 1))
        self.refused(engine, AdapterPayload(large.manifest, data), "size")

    def test_SERVE_1_damaged(self, engine: EngineProcess, base: Base) -> None:
        data = base.adapter(0).data.copy()
        data[-1] ^= 1
        self.refused(engine, AdapterPayload(base.adapter(0).manifest, data), "digest")
        # The whole one is as welcome as ever.
        engine.load_adapter(base.adapter(0))

    def test_SERVE_1_of_wrong_shapes(self, engine: EngineProcess, base: Base) -> None:
        turned = {name: tuple(reversed(shape)) for name, shape in base.shapes.items()}
        square = {name for name, shape in base.shapes.items() if shape == turned[name]}
        odd = {name: shape for name, shape in turned.items() if name not in square}
        self.refused(engine, replace(base, shapes=odd).adapter(0), "shape")

    def test_SERVE_1_of_layers_that_the_model_lacks(
        self, engine: EngineProcess, base: Base
    ) -> None:
        lacking = replace(base, shapes={"layers.99.q_proj": (32, 32)})
        self.refused(engine, lacking.adapter(0), "shape")

    def test_SERVE_1_with_numbers_that_are_none(self, engine: EngineProcess, base: Base) -> None:
        tensors = random_tensors(base.shapes, 0, 4, ["q_proj"], 0.2)
        for wrong in (np.nan, np.inf):
            next(iter(tensors.values()))[0, 0] = wrong
            self.refused(engine, sealed(tensors, base.digest, 4), "numbers")

    def test_SERVE_1_with_half_a_layer(self, engine: EngineProcess, base: Base) -> None:
        tensors = random_tensors(base.shapes, 0, 4, ["q_proj"], 0.2)
        del tensors[next(iter(tensors))]
        self.refused(engine, sealed(tensors, base.digest, 4), "shape")


class TestKvCaches:
    """A cache belongs to the adapter that it was computed with."""

    def test_SERVE_1_with_its_own_adapter_the_answer_is_the_same(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        adapter = base.adapter(0)
        engine.load_adapter(adapter)
        kv = engine.export_kv(MEMORY, salt="acme", adapter=adapter.manifest.digest)
        assert engine.forget()
        asked = Asked(with_adapter(MEMORY + QUESTION, adapter), (kv,))
        (found,) = engine.ask([asked])
        assert (found.kv.refused, found.kv.loaded_tokens) == (None, len(MEMORY))
        assert found.tokens == right(MEMORY + QUESTION, adapter)

    def test_SERVE_1_with_any_other_it_is_refused(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        one, other = base.adapter(0), base.adapter(1)
        for adapter in (one, other):
            engine.load_adapter(adapter)
        plain = engine.export_kv(MEMORY, salt="acme")
        adapted = engine.export_kv(MEMORY, salt="acme", adapter=one.manifest.digest)
        assert (plain.manifest.adapter, adapted.manifest.adapter) == ("", one.manifest.digest)
        for kv, adapter in ((plain, one), (adapted, None), (adapted, other)):  # type: ignore[assignment]
            # One that claims to be of the right adapter has the wrong key all the same.
            claims = replace(kv.manifest, adapter=adapter.manifest.digest if adapter else "")
            forged = KvPayload(claims, kv.ranks)
            for offered, refused in ((kv, Refusal.ADAPTER), (forged, Refusal.KEY)):
                assert engine.forget()
                asked = Asked(with_adapter(MEMORY + QUESTION, adapter), (offered,))
                (found,) = engine.ask([asked])
                assert (found.kv.refused, found.kv.cached_tokens) == (refused, 0)
                assert found.tokens == right(MEMORY + QUESTION, adapter)

    def test_SERVE_1_those_of_several_serve_one_batch(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        adapters = [base.adapter(0), base.adapter(1), None]
        kv = []
        for adapter in adapters:
            if adapter is not None:
                engine.load_adapter(adapter)
            digest = adapter.manifest.digest if adapter else ""
            kv.append(engine.export_kv(MEMORY, salt="acme", adapter=digest))
        assert engine.forget()
        # All are offered to all: each takes its own.
        asked = [Asked(with_adapter(MEMORY + QUESTION, one), tuple(kv)) for one in adapters]
        for adapter, found in zip(adapters, engine.ask(asked), strict=True):
            assert found.kv.loaded_tokens == len(MEMORY)
            assert found.tokens == right(MEMORY + QUESTION, adapter)

    def test_SERVE_1_the_engines_own_cache_tells_them_apart(
        self, engine: EngineProcess, base: Base, right: Right
    ) -> None:
        one, other = base.adapter(0), base.adapter(1)
        for adapter in (one, other, None):
            asked = Asked(with_adapter(MEMORY + QUESTION, adapter), adapter=adapter)
            (first,), (second,) = (
                engine.ask([asked]),
                engine.ask([replace(asked, request=again(asked))]),
            )
            assert (first.kv.cached_tokens, second.kv.cached_tokens) == (0, len(MEMORY))
            assert first.tokens == second.tokens == right(MEMORY + QUESTION, adapter)
