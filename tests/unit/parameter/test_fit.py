"""Which adapters are taken, and what their digest speaks of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from memos_ray.core.parameter import (
    AdapterLimits,
    AdapterPayload,
    TensorSpec,
    check,
    module_of,
    read_tensors,
)
from memos_ray.errors import InvalidInputError
from memos_ray.testing.random_adapters import file_of, random_adapter, random_tensors, sealed

SHAPES = {"layers.0.q_proj": (6, 4), "layers.0.o_proj": (4, 6)}
LIMITS = AdapterLimits("base", SHAPES, rank_max=8, bytes_max=1 << 16)
GOOD = random_adapter("base", SHAPES, seed=1)


def reason(payload: AdapterPayload) -> object:
    with pytest.raises(InvalidInputError) as caught:
        check(payload, LIMITS)
    return caught.value.details["reason"]


def test_a_whole_one_is_taken() -> None:
    check(GOOD, LIMITS)
    assert GOOD.manifest.targets == ("o_proj", "q_proj")
    assert GOOD.manifest.tensors[0] == TensorSpec(
        "base_model.model.layers.0.o_proj.lora_A.weight", "F32", (4, 6)
    )


def test_the_same_adapter_has_the_same_digest_and_others_another() -> None:
    tensors = random_tensors(SHAPES, 1, 4, ["q_proj", "o_proj"], 0.2)
    same = sealed(tensors, "base", 4).manifest.digest
    assert same == GOOD.manifest.digest
    others = {
        sealed(tensors, "another", 4).manifest.digest,
        sealed(tensors, "base", 4, alpha=4.0).manifest.digest,
        random_adapter("base", SHAPES, seed=2).manifest.digest,
        same,
    }
    assert len(others) == 4


def test_tensors_are_those_that_were_written() -> None:
    tensors = random_tensors(SHAPES, 1, 4, ["q_proj"], 0.2)
    found = read_tensors(file_of(tensors))
    assert [spec.name for spec, _ in found] == list(tensors)
    for (_, tensor), written in zip(found, tensors.values(), strict=True):
        np.testing.assert_array_equal(tensor, written)


def test_numbers_that_are_none_in_any_type() -> None:
    wrong: dict[str, np.generic] = {
        "F32": np.float32(np.inf),
        "F16": np.float16(np.nan),
        "BF16": np.uint16(0xFF80),
    }
    for name, number in wrong.items():
        data = file_of(random_tensors(SHAPES, 1, 4, ["q_proj"], 0.2))
        if name != "F32":
            # The same file with tensors of half the width.
            head = 8 + int.from_bytes(data[:8].tobytes(), "little")
            data = half_as_wide(data, head, name)
        data[-number.nbytes :] = np.frombuffer(number.tobytes(), np.uint8)
        assert reason(AdapterPayload.seal(data, base="base", rank=4, alpha=8.0)) == "numbers"
        data[-number.nbytes :] = 0
        check(AdapterPayload.seal(data, base="base", rank=4, alpha=8.0), LIMITS)


def half_as_wide(data: np.ndarray, head: int, dtype: str) -> np.ndarray:
    text = data[8:head].tobytes().decode().replace("F32", dtype)
    (first, _), (second, _) = [(spec, None) for spec, _ in read_tensors(data)]
    sizes = [2 * int(np.prod(spec.shape)) for spec in (first, second)]
    for start, size in ((0, sizes[0]), (2 * sizes[0], sizes[1])):
        text = text.replace(f"[{start},{start + 2 * size}]", f"[{start // 2},{start // 2 + size}]")
    encoded = text.encode() + b" " * (-len(text) % 8)
    parts = len(encoded).to_bytes(8, "little") + encoded + bytes(sum(sizes))
    return np.frombuffer(parts, np.uint8).copy()


def test_a_manifest_that_says_something_else() -> None:
    change: dict[str, Any]
    for change in ({"targets": ("q_proj",)}, {"tensors": ()}, {"size_bytes": 1}):
        lying = AdapterPayload(replace(GOOD.manifest, **change), GOOD.data)
        assert reason(lying) == "format"
    for change in ({"alpha": 1.0}, {"digest": "0" * 64}):
        assert reason(AdapterPayload(replace(GOOD.manifest, **change), GOOD.data)) == "digest"
    endless = AdapterPayload.seal(GOOD.data, base="base", rank=4, alpha=float("inf"))
    assert reason(endless) in ("format", "digest")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{}" + b"rest",
        (2).to_bytes(8, "little") + b"[]",
        GOOD.data[:-1].tobytes(),
        GOOD.data.tobytes().replace(b"F32", b"I32"),
        GOOD.data.tobytes().replace(b"[4,4]", b"[4,0]"),
        GOOD.data.tobytes().replace(b"[0,96]", b"[4,99]"),
    ],
)
def test_what_is_no_file_of_tensors(data: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        AdapterPayload.seal(np.frombuffer(data, np.uint8), base="base", rank=4, alpha=8.0)
    assert caught.value.details["reason"] == "format"


def test_names_of_adapters_tensors() -> None:
    assert module_of("base_model.model.m.0.q_proj.lora_B.weight") == ("m.0.q_proj", "B")
    for strange in (
        "base_model.model.m.0.q_proj.weight",
        "base_model.model.m.lora_embedding_A",
        "m.0.q_proj.lora_A.weight",
        "base_model.model.../etc.lora_A.weight/",
    ):
        assert module_of(strange) is None
