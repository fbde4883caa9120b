"""What a model must answer with an adapter, computed by transformers with merged weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from memos_ray.core.parameter import AdapterPayload, module_of, read_tensors


class MergedModel:
    """The same model with an adapter merged into its weights."""

    def __init__(self, folder: Path) -> None:
        # Tiny products are slower on two threads than on one.
        torch.set_num_threads(1)
        self._model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32
        ).eval()

    def answer(
        self, prompt: Sequence[int], adapter: AdapterPayload | None, tokens: int = 8
    ) -> tuple[int, ...]:
        """Returns the most probable tokens, one after the other."""
        ids = torch.tensor([list(prompt)])
        with torch.no_grad(), self._merged(adapter):
            for _ in range(tokens):
                logits = self._model(ids).logits[0, -1]
                ids = torch.cat([ids, logits.argmax().view(1, 1)], dim=1)
        return tuple(ids[0, len(prompt) :].tolist())

    @contextmanager
    def _merged(self, adapter: AdapterPayload | None) -> Iterator[None]:
        kept = {}
        halves: dict[str, dict[str, torch.Tensor]] = {}
        for spec, tensor in [] if adapter is None else read_tensors(adapter.data):
            layer, half = module_of(spec.name) or ("", "")
            halves.setdefault(layer, {})[half] = torch.from_numpy(tensor.copy())
        for layer, pair in halves.items():
            assert adapter is not None
            weight = self._model.get_submodule(layer).weight
            kept[layer] = weight.data
            scale = adapter.manifest.alpha / adapter.manifest.rank
            weight.data = weight.data + scale * pair["B"] @ pair["A"]
        yield
        for layer, original in kept.items():
            self._model.get_submodule(layer).weight.data = original
