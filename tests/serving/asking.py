"""Requests to engines, and what tests compare of the answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from memos_ray.core.activation import Bytes, EngineFingerprint, KvLayout, KvPayload
from memos_ray.core.generation import GenerationRequest, Sampling
from memos_ray.serving.kv.canonical import Codec
from memos_ray.testing.engine_process import Answer, Asked, EngineProcess


def prompt(length: int, seed: int) -> tuple[int, ...]:
    """Returns tokens that mean nothing."""
    chosen = random.Random(seed)
    return tuple(chosen.randrange(3, 250) for _ in range(length))


MEMORY = prompt(512, seed=1)
QUESTION = prompt(9, seed=2)
GREEDY = Sampling(max_tokens=24, temperature=0.0, ignore_eos=True)
_numbers = iter(range(10**9))


def request(tokens: tuple[int, ...] = MEMORY + QUESTION, salt: str = "acme") -> GenerationRequest:
    return GenerationRequest(f"r{next(_numbers)}", tokens, GREEDY, salt)


def ask(
    engine: EngineProcess,
    *kv: KvPayload,
    tokens: tuple[int, ...] = MEMORY + QUESTION,
    salt: str = "acme",
) -> Answer:
    """Asks an engine that remembers nothing by itself."""
    assert engine.forget()
    (answer,) = engine.ask([Asked(request(tokens, salt), kv)])
    return answer


def segments(
    engine: EngineProcess, *ends: int, tokens: tuple[int, ...] = MEMORY, salt: str = "acme"
) -> list[KvPayload]:
    """Returns the caches of consecutive parts of a text, which end there."""
    return [
        engine.export_kv(tokens[:end], salt=salt, start=start)
        for start, end in pairwise((0, *ends))
    ]


def resealed(payload: KvPayload, ranks: Sequence[Bytes]) -> KvPayload:
    """Returns a payload of other bytes, as well sealed as the first."""
    manifest = payload.manifest
    return KvPayload.seal(
        ranks,
        key=manifest.key,
        tokens=manifest.tokens,
        model=manifest.model,
        engine=manifest.engine,
        layout=manifest.layout,
        start=manifest.start,
        links=manifest.links,
    )


def portable(payload: KvPayload, engine: EngineFingerprint) -> KvPayload:
    """Returns a payload in the canonical layout, as another engine of its model would have made."""
    whole = Codec(engine, 4).canonical(payload.ranks, payload.manifest.held_tokens)
    manifest = resealed(payload, [whole]).manifest
    return KvPayload(replace(manifest, layout=KvLayout.CANONICAL, engine="another"), (whole,))
