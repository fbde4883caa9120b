"""KV caches as files: read back as written, and readable by the safetensors library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.activation import KvLayout, KvPayload, SourceVersion
from memos_ray.core.activation.files import read, write
from memos_ray.errors import StoreCorruptError


def payload(ranks: int = 2, size: int = 1000, sources: int = 2) -> KvPayload:
    numbers = np.random.default_rng(7)
    return KvPayload.seal(
        [numbers.integers(0, 256, size, dtype=np.uint8) for _ in range(ranks)],
        key="ab" * 16,
        tokens=64,
        model="model",
        engine="engine",
        layout=KvLayout.OPAQUE,
        sources=tuple(SourceVersion(f"id-{n}", n + 1) for n in range(sources)),
        adapter="ad" * 32,
    )


@given(ranks=st.integers(1, 4), size=st.integers(0, 3000), sources=st.integers(0, 5))
def test_it_is_read_back_as_written(ranks: int, size: int, sources: int) -> None:
    before = payload(ranks, size, sources)
    after = read(b"".join(write(before)))
    assert after.manifest == before.manifest
    assert after.intact()


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    before = payload()
    tensors = safetensors.load(b"".join(write(before)))
    assert sorted(tensors) == ["rank0", "rank1"]
    for number, rank in enumerate(before.ranks):
        assert np.array_equal(tensors[f"rank{number}"], rank)


def test_large_ones_come_in_pieces() -> None:
    large = payload(ranks=1, size=(8 << 20) + 5)
    pieces = list(write(large))
    assert len(pieces) == 3
    assert read(b"".join(pieces)).intact()


def test_damaged_bytes_are_noticed_at_the_use() -> None:
    data = bytearray(b"".join(write(payload())))
    data[-1] ^= 1
    assert not read(bytes(data)).intact()


def _altered(change: str) -> bytes:
    data = b"".join(write(payload()))
    length = int.from_bytes(data[:8], "little")
    header = orjson.loads(data[8 : 8 + length])
    if change == "format":
        header["__metadata__"]["format"] = "99"
    elif change == "manifest":
        header["__metadata__"]["memos_kv"] = "{}"
    elif change == "missing":
        del header["rank1"]
    elif change == "more":
        header["rank2"] = header["rank1"]
    elif change == "dtype":
        header["rank0"]["dtype"] = "F32"
    elif change == "beyond":
        header["rank1"]["data_offsets"] = [1000, 1 << 40]
    elif change == "backwards":
        header["rank0"]["data_offsets"] = [900, 100]
    elif change == "short":
        header["rank0"]["data_offsets"] = [0, 10]
    encoded = orjson.dumps(header)
    return len(encoded).to_bytes(8, "little") + encoded + data[8 + length :]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\0" * 64,
        (1 << 60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        *map(
            _altered,
            ("format", "manifest", "missing", "more", "dtype", "beyond", "backwards", "short"),
        ),
    ],
)
def test_what_is_no_cache_is_refused(data: bytes) -> None:
    with pytest.raises(StoreCorruptError):
        read(data)
