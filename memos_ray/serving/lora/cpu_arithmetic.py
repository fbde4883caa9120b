"""LoRA's arithmetic on CPUs: one product for all rows of an adapter, none for the others.

vLLM 0.29 to 0.32 copies an adapter's weights for each row of a batch, which makes prefill about
nine times slower, and takes rows without an adapter for rows of the last slot's when all slots are
taken (vLLM pull requests 48421 and 49656). Here rows are grouped by slot, and rows without one are
left alone: faster, and right.

This replaces vLLM's arithmetic through the interface that its layers have for that. It is for
engines that do not compile: a compiled model keeps what it was compiled with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

if TYPE_CHECKING:
    from vllm.lora.model_manager import LoRAModelManager


class GroupedArithmetic(PunicaWrapperCPU):
    """See the module's description. All weights are `[slots, 1, out, in]`."""

    def __init__(self, tokens: int, sequences: int, device: torch.device) -> None:
        super().__init__(tokens, sequences, device)
        # By slot its rows: a slice, or their numbers.
        self._groups: list[tuple[int, Any]] = []

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Takes the slots of the next step's rows; vLLM calls this when they have changed."""
        super().update_metadata(*args, **kwargs)
        runs: dict[int, list[tuple[int, int]]] = {}
        starts, lengths, slots, *_ = self.prefill_metadata
        for start, length, slot in zip(
            starts.tolist(), lengths.tolist(), slots.tolist(), strict=True
        ):
            if slot >= 0:
                runs.setdefault(slot, []).append((start, start + length))
        self._groups = [(slot, _rows(found)) for slot, found in runs.items()]

    def _shrink_prefill(
        self, y: torch.Tensor, x: torch.Tensor, w_t_all: torch.Tensor, scale: float
    ) -> None:
        for slot, rows in self._groups:
            weights = w_t_all[slot, 0].to(y.dtype)
            y[rows, : weights.shape[0]] = scale * (x[rows].to(y.dtype) @ weights.T)

    def _expand_slice_prefill(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        w_t_all: torch.Tensor,
        y_offset: int,
        y_slice_size: int,
        add_inputs: bool,
    ) -> None:
        place = slice(y_offset, y_offset + y_slice_size)
        for slot, rows in self._groups:
            product = x[rows].to(y.dtype) @ w_t_all[slot, 0].to(y.dtype).T
            y[rows, place] = y[rows, place] + product if add_inputs else product

    def add_lora_embedding(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: adapters of embeddings are refused, see `model_files.layer_shapes`."""

    def add_lora_logits(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: adapters of the output layer are refused as well."""


def install(manager: LoRAModelManager) -> None:
    """Has an engine's layers use this arithmetic, where they use vLLM's for CPUs."""
    for name, used in list(manager.punica_wrapper_mapping.items()):
        if type(used) is not PunicaWrapperCPU:
            continue
        grouped = GroupedArithmetic(
            used._token_lora_indices.numel(), used._seq_lengths.numel(), used.device
        )
        manager.punica_wrapper_mapping[name] = grouped
        for layer in manager.modules.values():
            if layer.punica_wrapper is used:
                layer.set_mapping(grouped)
        # It must hear of the next step's rows, even when they are the last one's.
        manager._last_mapping = None


def _rows(runs: list[tuple[int, int]]) -> Any:
    if len(runs) == 1:
        return slice(*runs[0])
    return torch.cat([torch.arange(start, end) for start, end in runs])
