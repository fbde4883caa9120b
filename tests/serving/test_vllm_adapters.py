"""vLLM alone: its defect on CPUs, several devices, very many adapters."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from memos_ray.config import ModelSettings
from memos_ray.core.parameter import AdapterPayload
from memos_ray.errors import InvalidInputError
from memos_ray.serving import model_files
from memos_ray.serving.model_files import layer_shapes, weights_digest
from memos_ray.serving.vllm_engine import VllmEngine
from memos_ray.testing.engine_process import Asked, EngineProcess
from memos_ray.testing.merged_model import MergedModel
from tests.serving.adapting import Base, with_adapter
from tests.serving.asking import MEMORY, QUESTION, prompt
from tests.serving.conftest import settings_of, vllm


@pytest.fixture(scope="module")
def base(folder: Path) -> Base:
    return Base(weights_digest(folder), layer_shapes(folder))


@pytest.fixture(scope="module")
def reference(folder: Path) -> MergedModel:
    return MergedModel(folder)


def unmended(settings: ModelSettings) -> VllmEngine:
    """Makes an engine with vLLM's own arithmetic."""
    from memos_ray.serving.lora import cpu_arithmetic

    cpu_arithmetic.install = lambda manager: None
    return VllmEngine(settings)


def mixed(adapters: list[AdapterPayload]) -> list[Asked]:
    """Returns one batch, whose first and last rows have no adapter."""
    rows = [None, *adapters, None]
    return [Asked(with_adapter(QUESTION, adapter), adapter=adapter) for adapter in rows]


def test_vllm_has_its_defect_still(folder: Path, base: Base, reference: MergedModel) -> None:
    """When this fails, vLLM has mended it: `lora.cpu_arithmetic` is then for speed only."""
    adapters = [base.adapter(seed) for seed in range(2)]
    expected = [reference.answer(QUESTION, one) for one in (None, *adapters, None)]
    settings = settings_of(folder, adapter_slots=2)
    with EngineProcess(partial(unmended, settings)) as engine:
        first = [found.tokens for found in engine.ask(mixed(adapters))]
        # Not the adapters' rows: those without one.
        assert first[1:-1] == expected[1:-1]
        assert first[0] != expected[0] and first[-1] != expected[-1]
    with vllm(folder, adapter_slots=2) as engine:
        assert [found.tokens for found in engine.ask(mixed(adapters))] == expected


@pytest.mark.parametrize("devices", [1, 2])
def test_a_core_in_its_own_process(
    folder: Path, base: Base, reference: MergedModel, devices: int
) -> None:
    adapters = [base.adapter(seed) for seed in range(3)]
    settings = {"engine_process": True, "tensor_parallel": devices, "adapter_slots": 2}
    with vllm(folder, **settings) as engine:
        answers = engine.ask(mixed(adapters))
        expected = [reference.answer(QUESTION, one) for one in (None, *adapters, None)]
        assert [found.tokens for found in answers] == expected
        name = adapters[0].manifest.digest
        kv = engine.export_kv(MEMORY, salt="acme", adapter=name)
        assert engine.forget()
        asked = with_adapter(MEMORY + QUESTION, adapters[0])
        (found,) = engine.ask([Asked(asked, (kv,))])
        assert found.kv.loaded_tokens == len(MEMORY)
        assert found.tokens == reference.answer(MEMORY + QUESTION, adapters[0])
        for adapter in adapters[1:]:
            assert engine.leave(with_adapter(QUESTION, adapter, 1500), parts=1)
        assert engine.ask(mixed(adapters[:1]))[1].tokens == expected[1]


LACKING = "model.layers.0.self_attn.extra_proj"


def credulous(settings: ModelSettings) -> VllmEngine:
    """Makes an engine that believes its model to have one more layer."""
    right = model_files.layer_shapes
    model_files.layer_shapes = lambda folder: {**right(folder), LACKING: (128, 128)}
    return VllmEngine(settings)


def test_an_engine_that_would_leave_out_a_layer_refuses(folder: Path, base: Base) -> None:
    strange = replace(base, shapes={**base.shapes, LACKING: (128, 128)})
    with EngineProcess(partial(credulous, settings_of(folder, adapter_slots=1))) as engine:
        with pytest.raises(InvalidInputError, match="extra_proj"):
            engine.load_adapter(strange.adapter(0, targets=["q_proj", "extra_proj"]))
        assert engine.adapters == {}
        engine.load_adapter(base.adapter(0))


def test_embeddings_are_no_layers(base: Base) -> None:
    assert {name.rpartition(".")[2] for name in base.shapes} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }


def test_a_model_without_slots_takes_none(plain_vllm: EngineProcess, base: Base) -> None:
    with pytest.raises(InvalidInputError, match="takes no adapters"):
        plain_vllm.load_adapter(base.adapter(0))


def test_two_hundred_adapters_share_four_slots(
    folder: Path, base: Base, reference: MergedModel
) -> None:
    adapters = [base.adapter(seed, targets=["q_proj", "v_proj"]) for seed in range(200)]
    size = adapters[0].data.size
    chosen = random.Random(7)
    # As Zipf has it: the second is asked for half as often as the first.
    picked = chosen.choices(range(200), [1 / (1 + place) for place in range(200)], k=150)
    picked += range(0, 200, 4)
    asked = []
    for number, place in enumerate(picked):
        # Base rows in between, in full batches.
        adapter = None if number % 10 == 9 else adapters[place]
        asked.append(Asked(with_adapter(prompt(6, seed=number), adapter, 4), adapter=adapter))
    with vllm(folder, adapter_slots=4, adapter_host_bytes=40 * size) as engine:
        answers = engine.ask(asked)
        assert 4 <= len(engine.adapters) <= 40
    wrong = Counter(
        found.tokens == reference.answer(one.request.tokens, one.adapter, 4)
        for one, found in zip(asked, answers, strict=True)
    )
    assert wrong == {True: len(asked)}
