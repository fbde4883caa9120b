"""Moving KV blocks, bit for bit: on the CPU always, on CUDA where there is a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from memos_ray.serving.kv.device_layout import DeviceLayout, to_blocks, to_canonical  # noqa: E402
from memos_ray.serving.kv.paging import block_size_bytes, gather, scatter  # noqa: E402

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    ),
]
LAYERS, HEADS, BLOCK, DIM = 3, 2, 32, 64


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", list(DeviceLayout))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_the_canonical_layout_is_lossless(device: str, layout: DeviceLayout, dtype: Any) -> None:
    whole = torch.arange(LAYERS * 2 * HEADS * 4 * BLOCK * DIM, device=device).to(dtype)
    canonical = whole.view(LAYERS, 2, HEADS, 4 * BLOCK, DIM)
    blocks = to_blocks(canonical, layout, BLOCK)
    assert blocks.shape == (LAYERS, 4, HEADS, BLOCK, 2 * DIM)
    assert torch.equal(to_canonical(blocks, layout), canonical)


def test_where_a_token_lies_in_a_block() -> None:
    canonical = torch.arange(2 * BLOCK * DIM).view(1, 2, 1, BLOCK, DIM)
    keys, values = canonical[0, 0, 0], canonical[0, 1, 0]
    split = to_blocks(canonical, DeviceLayout.SPLIT_LAST, BLOCK)[0, 0, 0]
    assert torch.equal(split, torch.cat([keys, values], dim=1))
    packed = to_blocks(canonical, DeviceLayout.CPU_VEC, BLOCK).flatten()
    assert torch.equal(packed, torch.cat([keys.T.flatten(), values.flatten()]))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_are_copied_out_and_in(device: str, dtype: Any) -> None:
    shape = (16, HEADS, BLOCK, 2 * DIM)
    source = [torch.randn(shape, device=device).to(dtype) for _ in range(LAYERS)]
    target = [torch.zeros_like(cache) for cache in source]
    taken, given = [3, 4, 5, 9, 1], [2, 7, 8, 11]
    payload = gather(source, taken)
    assert payload.nbytes == LAYERS * len(taken) * block_size_bytes(source)
    payload.flags.writeable = False
    scatter(payload, target, given, skip=1)
    for old, new in zip(source, target, strict=True):
        assert torch.equal(new[given], old[taken[1:]])
        untouched = [place for place in range(16) if place not in given]
        assert not new[untouched].any()


@pytest.mark.parametrize("device", DEVICES)
def test_a_payload_of_another_size_is_refused(device: str) -> None:
    cache = [torch.zeros((4, HEADS, BLOCK, 2 * DIM), device=device)]
    two = np.zeros(2 * block_size_bytes(cache), np.uint8)
    for payload, blocks, skip in ((two[:-1], [0], 0), (two, [0, 1, 2], 0), (two, [0, 1], 1)):
        with pytest.raises(ValueError, match="size"):
            scatter(payload, cache, blocks, skip)


def test_a_cache_that_is_not_contiguous_is_never_copied_by_accident() -> None:
    cache = [torch.zeros((4, HEADS, BLOCK, 2 * DIM)).transpose(0, 1)]
    with pytest.raises(RuntimeError):
        scatter(np.zeros(block_size_bytes(cache), np.uint8), cache, [0], 0)
