"""Translates between an engine's KV blocks and the canonical layout.

    canonical   [layers, 2, heads, tokens, head_dim]
    blocks      [layers, blocks, heads, block, 2 * head_dim]; what is inside a head of a block
                depends on the device

Both directions are permutations of elements, so every dtype round-trips bit for bit. The same code
runs on CPU and CUDA tensors.
"""

from __future__ import annotations

from enum import StrEnum

import torch


class DeviceLayout(StrEnum):
    """What is inside one head of one block."""

    CPU_VEC = "cpu-vec"
    """Keys transposed, `[head_dim, block]`, then values, `[block, head_dim]`."""
    SPLIT_LAST = "split-last"
    """`[block, 2 * head_dim]`: each token's key, then its value (FlashAttention, Triton)."""

    @staticmethod
    def of(device_layout: str) -> DeviceLayout:
        """Returns what a fingerprint's `device_layout` means.

        Raises:
            ValueError: nobody has looked into such blocks yet.
        """
        if device_layout.endswith(DeviceLayout.SPLIT_LAST):
            return DeviceLayout.SPLIT_LAST
        return DeviceLayout(device_layout)


def to_blocks(canonical: torch.Tensor, layout: DeviceLayout, block_tokens: int) -> torch.Tensor:
    """Returns contiguous blocks.

    Args:
        canonical: `[layers, 2, heads, tokens, head_dim]`, tokens a multiple of `block_tokens`.
    """
    layers, _, heads, tokens, dim = canonical.shape
    blocks = tokens // block_tokens
    # [layers, 2, heads, blocks, block, dim] -> [layers, blocks, heads, 2, block, dim]
    split = canonical.reshape(layers, 2, heads, blocks, block_tokens, dim).permute(0, 3, 2, 1, 4, 5)
    if layout is DeviceLayout.SPLIT_LAST:
        split = split.transpose(3, 4)
        return split.reshape(layers, blocks, heads, block_tokens, 2 * dim)
    out = torch.empty(
        (layers, blocks, heads, 2, block_tokens * dim),
        dtype=canonical.dtype,
        device=canonical.device,
    )
    out[:, :, :, 0].view(layers, blocks, heads, dim, block_tokens).copy_(
        split[:, :, :, 0].transpose(-1, -2)
    )
    out[:, :, :, 1].view(layers, blocks, heads, block_tokens, dim).copy_(split[:, :, :, 1])
    return out.view(layers, blocks, heads, block_tokens, 2 * dim)


def to_canonical(blocks: torch.Tensor, layout: DeviceLayout) -> torch.Tensor:
    """Returns `[layers, 2, heads, tokens, head_dim]`, contiguous; the inverse of `to_blocks`."""
    layers, count, heads, block, width = blocks.shape
    dim = width // 2
    if layout is DeviceLayout.SPLIT_LAST:
        pair = blocks.reshape(layers, count, heads, block, 2, dim).transpose(3, 4)
    else:
        halves = blocks.reshape(layers, count, heads, 2, block * dim)
        keys = halves[:, :, :, 0].view(layers, count, heads, dim, block).transpose(-1, -2)
        values = halves[:, :, :, 1].view(layers, count, heads, block, dim)
        pair = torch.stack([keys, values], dim=3)
    # [layers, count, heads, 2, block, dim] -> [layers, 2, heads, count, block, dim]
    return pair.permute(0, 3, 2, 1, 4, 5).reshape(layers, 2, heads, count * block, dim)
