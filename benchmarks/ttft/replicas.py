"""Two replicas on one node: a KV cache built by one, in Ray's object store, used by the other.

Each replica is an actor with an engine, and a process of its own. What is reported of a use:

    get        from the reference to the payload: mapped from the object store, not copied
    verify     blake3 of all bytes, on one core; once a replica and cache
    scatter    the copy into paged blocks of the engine's shape, whose ids run backwards, the worst
               case; the pages have been written before, as an engine's have

`object_store_gb_s` is the bytes over get and scatter, which is what every use after the first
consists of; `first_use_gb_s` has the verification in it. `whole_gb_s` is measured from outside, on
the engine itself: the bytes over the difference between the time to the first token with the cache
and the one with the context in the engine's own prefix cache. It contains everything that a use of
a cache costs: the above, the check of the key, a step of the scheduler.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import ray

from benchmarks.ttft.subject import (
    SALT,
    WARMING_TOKENS,
    Subject,
    context,
    greedy,
    question,
    say,
    tokens,
)
from memos_ray.config import ModelSettings
from memos_ray.core.activation import KvPayload
from memos_ray.serving.vllm_engine import VllmEngine

_PARTS_TRIES = 7
_CPUS = 4


class EngineReplica:
    """A replica with nothing before its engine."""

    def __init__(self, settings: ModelSettings) -> None:
        self._engine = VllmEngine(settings)

    async def build(self, length: int) -> KvPayload:
        """Computes the KV cache of a context; it belongs to whoever called."""
        await self._empty()
        return await self._engine.export_kv(context(length), salt=SALT)

    async def answer(
        self, prompt: tuple[int, ...], references: Sequence[Any] = (), *, cold: bool = True
    ) -> tuple[float, tuple[int, ...], int]:
        """Answers; returns seconds to the first token, all tokens, and how many were loaded.

        Args:
            references: to a KV cache in the object store, or nothing.
            cold: whether the engine forgets what it has computed before.
        """
        if cold:
            await self._empty()
        started, first_s = time.perf_counter(), None
        payloads = [await reference for reference in references]
        said, part = tuple[int, ...](), None
        async for part in self._engine.generate(greedy(prompt), payloads):
            first_s = time.perf_counter() - started if first_s is None else first_s
            said += part.tokens
        assert first_s is not None and part is not None and part.kv is not None
        return first_s, said, part.kv.loaded_tokens

    async def parts(self, references: Sequence[Any]) -> dict[str, float]:
        """Returns the seconds of what a use of a KV cache consists of."""
        import torch

        from memos_ray.serving.kv import paging

        taken: dict[str, list[float]] = {"get": [], "verify": [], "scatter": []}
        fingerprint = self._engine.fingerprint
        geometry = fingerprint.model.geometry
        for _ in range(_PARTS_TRIES):
            started = time.perf_counter()
            payload: KvPayload = await references[0]
            got = time.perf_counter()
            assert payload.intact()
            verified = time.perf_counter()
            taken["get"].append(got - started)
            taken["verify"].append(verified - got)
        blocks = payload.manifest.tokens // fingerprint.block_tokens
        block_bytes = payload.manifest.size_bytes // (geometry.layers * blocks)
        paged = [
            torch.zeros((blocks, block_bytes), dtype=torch.uint8) for _ in range(geometry.layers)
        ]
        for _ in range(_PARTS_TRIES + 1):
            started = time.perf_counter()
            paging.scatter(payload.ranks[0], paged, range(blocks - 1, -1, -1), 0)
            taken["scatter"].append(time.perf_counter() - started)
        # The first one touches the pages.
        del taken["scatter"][0]
        return {name: median(each) for name, each in taken.items()}

    async def _empty(self) -> None:
        assert await self._engine.forget()


def measure(subject: Subject, lengths: list[int], asked: int, tries: int) -> dict[str, Any]:
    """Returns the figures by context length."""
    settings = subject.settings(max(lengths) + asked)
    per_cache = [subject.kv_bytes(length) for length in lengths]
    ray.init(
        address="local",
        num_cpus=_CPUS,
        num_gpus=0,
        object_store_memory=max(1 << 28, 3 * sum(per_cache)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        remote: Any = ray.remote(num_cpus=1)(EngineReplica)
        builder, user = remote.remote(settings), remote.remote(settings)
        for replica in (builder, user):
            for length in WARMING_TOKENS:
                ray.get(replica.answer.remote(tokens(length, 9)))
        return {str(length): _across(builder, user, length, asked, tries) for length in lengths}
    finally:
        ray.shutdown()


def _across(builder: Any, user: Any, length: int, asked: int, tries: int) -> dict[str, Any]:
    reference = builder.build.remote(length)
    payload = ray.get(reference)
    size = payload.manifest.size_bytes
    prompt = context(length) + question(asked)
    first_s, said, loaded_tokens = ray.get(user.answer.remote(prompt, [reference]))
    computed_s, computed, _ = ray.get(user.answer.remote(prompt))
    same = said == computed
    warm, loaded = [], []
    for number in range(1, tries + 1):
        again = context(length) + question(asked, number)
        warm_s, _, _ = ray.get(user.answer.remote(again, cold=False))
        kv_s, said, _ = ray.get(user.answer.remote(prompt, [reference]))
        warm.append(warm_s)
        loaded.append(kv_s)
        same = same and said == computed
    parts = ray.get(user.parts.remote([reference]))
    use_s, beyond_warm_s = parts["get"] + parts["scatter"], min(loaded) - min(warm)
    say(f"replicas: {length} tokens done")
    return {
        "kv_mb": round(size / 1e6, 1),
        "loaded_tokens": loaded_tokens,
        "tokens_identical_as_timed": same,
        "prefill_ms": _ms(computed_s),
        "kv_ms": _ms(min(loaded)),
        "kv_first_ms": _ms(first_s),
        "warm_prefix_ms": _ms(min(warm)),
        **{f"{name}_ms": _ms(each) for name, each in parts.items()},
        "verify_gb_s": _rate(size, parts["verify"]),
        "scatter_gb_s": _rate(size, parts["scatter"]),
        "object_store_gb_s": _rate(size, use_s),
        "first_use_gb_s": _rate(size, use_s + parts["verify"]),
        "whole_gb_s": _rate(size, beyond_warm_s) if beyond_warm_s > 0 else None,
    }


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 2)


def _rate(size: int, seconds: float) -> float:
    return round(size / seconds / 1e9, 2)
