"""Adapters for tests, and requests that use them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from memos_ray.core.generation import GenerationRequest
from memos_ray.core.parameter import AdapterPayload
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
