"""Adapters as files: read back as written, readable by the safetensors library, and refused."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import (
    AdapterOrigin,
    AdapterPayload,
    TensorSpec,
    pack_tensors,
    read_tensors,
)
from memos_ray.core.parameter.files import read, write
from memos_ray.errors import InvalidInputError, StoreCorruptError
from memos_ray.testing.random_adapters import random_tensors, sealed

SHAPES = {f"model.layers.{layer}.self_attn.q_proj": (8, 6) for layer in range(2)}


def adapter(sources: int = 2, seed: int = 7) -> AdapterPayload:
    tensors = random_tensors(SHAPES, seed, 2, ["q_proj"], 0.1)
    plain = sealed(tensors, "base", 2)
    origin = AdapterOrigin(
        tuple(SourceVersion(f"id-{n}", n + 1) for n in range(sources)), "recipe", seed, ("parent",)
    )
    return AdapterPayload.seal(plain.data, base="base", rank=2, alpha=4.0, origin=origin)


@settings(deadline=None)
@given(sources=st.integers(0, 5), seed=st.integers(0, 99))
def test_it_is_read_back_as_written(sources: int, seed: int) -> None:
    before = adapter(sources, seed)
    after = read(write(before))
    assert after.manifest == before.manifest
    assert after.intact()
    assert np.array_equal(after.data, before.data)


def test_other_programs_can_read_it() -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    before = adapter()
    tensors = safetensors.load(write(before))
    for spec, tensor in read_tensors(before.data):
        assert np.array_equal(tensors.pop(spec.name), tensor)
    assert not tensors


def test_the_origin_does_not_change_what_an_adapter_is() -> None:
    assert adapter(1).manifest.digest == adapter(3).manifest.digest
    assert adapter(1).manifest != adapter(3).manifest


def test_the_same_tensors_give_the_same_bytes_in_any_order() -> None:
    tensors = read_tensors(adapter().data)
    assert np.array_equal(pack_tensors(tensors), pack_tensors(reversed(tensors)))


def test_narrow_elements_stand_behind_wide_ones() -> None:
    narrow = TensorSpec("a", "BF16", (3,)), np.arange(3, dtype=np.uint16)
    wide = TensorSpec("b", "F32", (2,)), np.arange(2, dtype=np.float32)
    (first, _), (second, numbers) = read_tensors(pack_tensors([narrow, wide]))
    assert (first, second) == (wide[0], narrow[0])
    assert np.array_equal(numbers, narrow[1])


def test_tensors_in_another_order_are_not_written() -> None:
    canonical = adapter()
    length = int.from_bytes(canonical.data[:8].tobytes(), "little")
    padded = np.concatenate(
        [
            np.frombuffer((length + 8).to_bytes(8, "little"), np.uint8),
            canonical.data[8 : 8 + length],
            np.full(8, ord(" "), np.uint8),
            canonical.data[8 + length :],
        ]
    )
    other = AdapterPayload.seal(padded, base="base", rank=2, alpha=4.0)
    with pytest.raises(InvalidInputError, match="order"):
        write(other)


def _altered(change: str) -> bytes:
    data = write(adapter())
    length = int.from_bytes(data[:8], "little")
    header = orjson.loads(data[8 : 8 + length])
    about = header["__metadata__"]
    manifest = orjson.loads(about["memos_adapter"])
    first = next(name for name in header if name != "__metadata__")
    body = bytearray(data[8 + length :])
    if change == "version":
        about["version"] = "99"
    elif change == "no metadata":
        del header["__metadata__"]
    elif change == "rank":
        manifest["rank"] = 4
    elif change == "base":
        manifest["base"] = "another"
    elif change == "sources":
        manifest["origin"]["sources"] = [["id"]]
    elif change == "missing":
        del header[first]
    elif change == "dtype":
        header[first]["dtype"] = "I32"
    elif change == "beyond":
        header[first]["data_offsets"] = [0, 1 << 40]
    elif change == "bytes":
        body[-1] ^= 1
    if change != "no metadata":
        about["memos_adapter"] = orjson.dumps(manifest).decode()
    encoded = orjson.dumps(header)
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + bytes(body)


def test_an_unaltered_one_is_read() -> None:
    assert read(_altered("nothing")).intact()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\x80\x04\x95pickle, which nobody reads",
        (1 << 60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        *map(
            _altered,
            (
                *("version", "no metadata", "rank", "base", "sources"),
                *("missing", "dtype", "beyond", "bytes"),
            ),
        ),
    ],
)
def test_what_is_no_adapter_is_refused(data: bytes) -> None:
    with pytest.raises(StoreCorruptError):
        read(data)
