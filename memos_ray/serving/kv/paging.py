"""Copies KV blocks between an engine's paged cache and one contiguous payload.

A payload is `[layers, blocks, …block]` as bytes; what is inside a block is the device's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from memos_ray.core.activation import Bytes


def gather(caches: Sequence[torch.Tensor], blocks: Sequence[int]) -> Bytes:
    """Copies blocks out of the cache.

    Args:
        caches: one `[num_blocks, …block]` tensor a layer.
        blocks: ids, in the order of the tokens.

    Returns:
        A flat array in host memory.
    """
    block_bytes = block_size_bytes(caches)
    out = np.empty(len(caches) * len(blocks) * block_bytes, np.uint8)
    rows = out.reshape(len(caches), len(blocks), block_bytes)
    for layer, cache in enumerate(caches):
        if cache.device.type == "cpu":
            paged = _host_rows(cache)
            for start, first, count in _runs(blocks):
                rows[layer, start : start + count] = paged[first : first + count]
        else:
            wanted = torch.tensor(blocks, device=cache.device)
            picked = cache.index_select(0, wanted).contiguous()
            target = torch.from_numpy(rows[layer].reshape(-1))
            target.copy_(picked.view(torch.uint8).reshape(-1))
    return out


def scatter(
    payload: Bytes, caches: Sequence[torch.Tensor], blocks: Sequence[int], skip: int
) -> None:
    """Copies a payload's blocks into the cache.

    Args:
        payload: as `gather` returns it; may be read-only.
        blocks: ids to fill, with the payload's blocks from number `skip` on.

    Raises:
        ValueError: the payload is not of this engine's size.
    """
    block_bytes = block_size_bytes(caches)
    total, rest = divmod(payload.size, len(caches) * block_bytes)
    if rest or skip + len(blocks) > total:
        raise ValueError("the payload has another size than the engine's blocks")
    rows = payload.reshape(len(caches), total, block_bytes)
    for layer, cache in enumerate(caches):
        if cache.device.type == "cpu":
            paged = _host_rows(cache)
            for start, first, count in _runs(blocks):
                paged[first : first + count] = rows[layer, skip + start : skip + start + count]
        else:
            piece = np.ascontiguousarray(rows[layer, skip : skip + len(blocks)])
            staged = torch.from_numpy(_writable(piece)).to(cache.device, non_blocking=True)
            wanted = torch.tensor(blocks, device=cache.device)
            cache.index_copy_(0, wanted, staged.view(cache.dtype).view(-1, *cache.shape[1:]))


def block_size_bytes(caches: Sequence[torch.Tensor]) -> int:
    """Returns the bytes of one block of one layer."""
    cache = caches[0]
    return int(cache[0].numel() * cache.element_size())


def _host_rows(cache: torch.Tensor) -> Bytes:
    # `view`, unlike `reshape`, refuses where it could only make a copy.
    flat: Bytes = cache.view(torch.uint8).view(cache.shape[0], -1).numpy()
    return flat


def _writable(array: Bytes) -> Bytes:
    # torch warns about read-only memory, which it is only going to read.
    return array if array.flags.writeable else array.copy()


def _runs(blocks: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yields (position, first id, count) of runs of consecutive ids."""
    start = 0
    for place in range(1, len(blocks) + 1):
        if place == len(blocks) or blocks[place] != blocks[place - 1] + 1:
            yield start, blocks[start], place - start
            start = place
