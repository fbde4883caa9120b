"""Adapters for tests, and what a model must answer with them, as transformers computes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from memos_ray.core.generation import GenerationRequest
from memos_ray.core.parameter import AdapterPayload, module_of, read_tensors
from memos_ray.testing.random_adapters import random_adapter
from tests.serving.asking import GREEDY, request


@dataclass(frozen=True, slots=True)
class Base:
    """What adapters for an engine are made of."""

    digest: str
    shapes: dict[str, tuple[int, ...]]

    def adapter(self, seed: int, **changes: object) -> AdapterPayload:
        return random_adapter(self.digest, self.shapes, seed=seed, **changes)  # type: ignore[arg-type]


def with_adapter(
    tokens: tuple[int, ...], adapter: AdapterPayload | None = None, answer_tokens: int = 8
) -> GenerationRequest:
    """Returns a request for a short answer."""
    asked = replace(request(tokens), sampling=replace(GREEDY, max_tokens=answer_tokens))
    return replace(asked, adapter=adapter.manifest.digest if adapter else "")


class Reference:
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
