"""Turns a payload of an engine into the canonical layout, and back, for engines of its model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from memos_ray.core.activation import Bytes, EngineFingerprint
from memos_ray.errors import InvalidInputError
from memos_ray.serving.kv.device_layout import DeviceLayout, to_blocks, to_canonical

# Translation moves whole elements; which numbers they stand for does not matter.
_ELEMENTS = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


class Codec:
    """The codec of one engine.

    Tensor-parallel ranks hold consecutive heads; the canonical layout holds all of them.
    """

    def __init__(self, engine: EngineFingerprint, element_bytes: int) -> None:
        self._engine = engine
        self._element = _ELEMENTS[element_bytes]
        try:
            self._layout: DeviceLayout | None = DeviceLayout.of(engine.device_layout)
        except ValueError:
            self._layout = None

    @property
    def supported(self) -> bool:
        """Whether this engine's blocks can be translated at all."""
        return self._layout is not None

    def canonical(self, ranks: Sequence[Bytes], tokens: int) -> Bytes:
        """Returns `[layers, 2, kv_heads, tokens, head_dim]`, flat, of the engine's ranks.

        Raises:
            InvalidInputError: the inside of this engine's blocks is not known.
        """
        geometry, block = self._engine.model.geometry, self._engine.block_tokens
        heads = geometry.kv_heads // len(ranks)
        shape = (geometry.layers, tokens // block, heads, block, 2 * geometry.head_dim)
        parts = [to_canonical(self._tensor(rank).view(shape), self._known()) for rank in ranks]
        return _flat(torch.cat(parts, dim=2))

    def ranks(self, canonical: Bytes, tokens: int) -> list[Bytes]:
        """Returns each rank's bytes of a payload in the canonical layout.

        Raises:
            InvalidInputError: the inside of this engine's blocks is not known.
        """
        geometry = self._engine.model.geometry
        whole = self._tensor(canonical).view(geometry.canonical_shape(tokens))
        return [
            _flat(to_blocks(part.contiguous(), self._known(), self._engine.block_tokens))
            for part in whole.chunk(self._engine.tensor_parallel, dim=2)
        ]

    def _known(self) -> DeviceLayout:
        if self._layout is None:
            raise InvalidInputError(
                "KV caches of this device cannot be translated", layout=self._engine.device_layout
            )
        return self._layout

    def _tensor(self, payload: Bytes) -> torch.Tensor:
        writable = payload if payload.flags.writeable else payload.copy()
        return torch.from_numpy(writable).view(self._element)


def _flat(tensor: torch.Tensor) -> Bytes:
    flat: Bytes = tensor.contiguous().view(torch.uint8).view(-1).numpy()
    return np.ascontiguousarray(flat)
