"""PEFT's files: taken in, given away, and refused when they say more than is supported."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from memos_ray.client.verbs import peft_folders
from memos_ray.client.verbs.peft_folders import read_folder, write_folder
from memos_ray.core.parameter import AdapterPayload, read_tensors
from memos_ray.core.parameter.peft_format import TENSORS_FILE, PeftFiles, from_peft, to_peft
from memos_ray.errors import InvalidInputError, NotFoundError, PayloadTooLargeError
from memos_ray.gateway.parameter.models import AdapterFiles
from memos_ray.testing.random_adapters import random_tensors, sealed

SHAPES = {"model.layers.0.mlp.up_proj": (8, 6)}


def adapter() -> AdapterPayload:
    return sealed(random_tensors(SHAPES, 1, 2, ["up_proj"], 0.1), "base", 2, 5.0)


def files(**changes: Any) -> tuple[bytes, np.ndarray[Any, np.dtype[np.uint8]]]:
    made = to_peft(adapter(), "a model")
    config = orjson.loads(made.config) | changes
    return orjson.dumps(config), np.frombuffer(made.part(0, made.size_bytes), np.uint8)


async def pieces(made: PeftFiles) -> AsyncGenerator[bytes, None]:
    for start in range(0, made.size_bytes, 100):
        yield made.part(start, 100)


def given(payload: AdapterPayload) -> AdapterFiles:
    made = to_peft(payload)
    return AdapterFiles(made.config, pieces(made), made.size_bytes)


def test_it_comes_back_as_it_went() -> None:
    assert from_peft(*files(), base="base").manifest == adapter().manifest


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"use_rslora": True},
        {"bias": "all"},
        {"rank_pattern": {"up_proj": 4}},
        {"modules_to_save": ["lm_head"]},
        {"r": "two"},
        {"lora_alpha": None},
    ],
)
def test_what_is_not_a_plain_product_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        from_peft(*files(**changes), base="base")


def test_a_configuration_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="configuration"):
        from_peft(b"\x80\x04pickle", files()[1], base="base")


def test_strange_tensors_are_named() -> None:
    strange = sealed({"model.embed_tokens.weight": np.zeros((2, 2), np.float32)}, "base", 2)
    with pytest.raises(InvalidInputError, match="embed_tokens"):
        from_peft(files()[0], strange.data, base="base")


async def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "adapter"
    await write_folder(folder, given(adapter()))
    config, tensors = read_folder(folder)
    found = from_peft(config, np.frombuffer(tensors, np.uint8), base="base")
    assert found.manifest == adapter().manifest
    with pytest.raises(InvalidInputError, match="empty"):
        await write_folder(folder, given(adapter()))
    with monkeypatch.context() as patched:
        patched.setattr(peft_folders, "_TENSORS_MAX", 100)
        with pytest.raises(PayloadTooLargeError):
            read_folder(folder)
    (folder / TENSORS_FILE).rename(folder / "adapter_model.bin")
    with pytest.raises(InvalidInputError, match="safetensors"):
        read_folder(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(NotFoundError, match="lacks"):
        read_folder(folder)


async def test_peft_itself_reads_what_is_given_away(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    from memos_ray.serving import model_files
    from memos_ray.serving.teaching.student import load_base
    from memos_ray.testing.random_adapters import random_adapter
    from memos_ray.testing.recall import tiny_recall_path

    model = tiny_recall_path()
    shapes = model_files.layer_shapes(model)
    made = random_adapter(model_files.weights_digest(model), shapes, seed=3)
    folder = tmp_path / "adapter"
    await write_folder(folder, given(made))
    loaded = peft.PeftModel.from_pretrained(load_base(model, torch.device("cpu")), folder)
    numbers = peft.get_peft_model_state_dict(loaded)
    for spec, tensor in read_tensors(made.data):
        assert np.array_equal(numbers.pop(spec.name).numpy(), tensor)
    assert not numbers
    scaling = loaded.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"]
    assert scaling == made.manifest.alpha / made.manifest.rank
