"""The engine alone: the context as text, as a KV cache, out of the warm prefix cache.

Two vLLM processes, one after the other: one builds the caches, one uses them and is fresh when it
gets them. The ways are tried in turns, so that a machine whose speed drifts favours none; each
figure is the fastest of the tries. transformers come next, in a process of their own. Whether the
tokens are identical is asked in float32 at the end: in bfloat16 a prompt computed in one piece
rounds otherwise than one computed in two, by the engine's own prefix cache as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.isolation import isolated
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
from memos_ray.config import DType
from memos_ray.core.activation import KvPayload
from memos_ray.ports import EnginePort
from memos_ray.serving.vllm_engine import VllmEngine
from memos_ray.testing.engine_process import Answer, Asked, EngineProcess


def measure(
    subject: Subject, lengths: list[int], questions: list[int], tries: int
) -> dict[str, dict[str, Any]]:
    """Returns the figures by context length: those of the first question's length directly, those
    of others under `question_N`."""
    settings = subject.settings(max(lengths) + max(questions))
    figures = on_engine(partial(VllmEngine, settings), lengths, questions, tries)
    for one, taken in zip(
        figures.values(),
        isolated(_dynamic_caches, subject, lengths, questions, tries),
        strict=True,
    ):
        one["hf_dynamic_cache_ms"] = taken[0]
        for asked, each in zip(questions[1:], taken[1:], strict=True):
            one[f"question_{asked}"]["hf_dynamic_cache_ms"] = each
    if subject.dtype is not DType.FLOAT32:
        exact = _identical(replace(subject, dtype=DType.FLOAT32), lengths, questions[0])
        for one, same in zip(figures.values(), exact, strict=True):
            one["tokens_identical"] = same
    return figures


def on_engine(
    factory: Callable[[], EnginePort], lengths: list[int], questions: list[int], tries: int
) -> dict[str, dict[str, Any]]:
    """Returns what two engines of a kind give, in their element type; see `measure`."""
    payloads: dict[int, KvPayload] = {}
    figures: dict[str, dict[str, Any]] = {}
    with EngineProcess(factory) as builder:
        _warm(builder)
        for length in lengths:
            assert builder.forget()
            started = time.perf_counter()
            payloads[length] = builder.export_kv(context(length), salt=SALT)
            figures[str(length)] = {
                "build_ms": _ms([time.perf_counter() - started]),
                "kv_mb": round(payloads[length].manifest.size_bytes / 1e6, 1),
            }
            say(f"contexts: {length} tokens built")
    with EngineProcess(factory) as user:
        _warm(user)
        for length in lengths:
            found = [_asked(user, payloads[length], length, asked, tries) for asked in questions]
            # Only the first use of a cache verifies it.
            for later in found[1:]:
                del later["kv_first_ms"]
            same = found[0]["tokens_identical_as_timed"]
            figures[str(length)] |= found[0] | {"tokens_identical": same}
            figures[str(length)] |= _named(questions, found)
    return figures


def _named(questions: list[int], found: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"question_{asked}": one for asked, one in zip(questions[1:], found[1:], strict=True)}


def _asked(
    engine: EngineProcess, payload: KvPayload, length: int, asked: int, tries: int
) -> dict[str, Any]:
    prompt = context(length) + question(asked)
    first = _cold(engine, prompt, payload)
    computed, warm, loaded = [], [], []
    for number in range(1, tries + 1):
        computed.append(_cold(engine, prompt))
        # Another question each time: of a known one the engine would have more than the context.
        warm.append(_again(engine, context(length) + question(asked, number)))
        loaded.append(_cold(engine, prompt, payload))
        say(f"contexts: {length} tokens, question of {asked}, try {number} of {tries}")
    prefill_ms, kv_ms, warm_ms = _fastest(computed), _fastest(loaded), _fastest(warm)
    return {
        "prefill_ms": prefill_ms,
        "kv_ms": kv_ms,
        "kv_first_ms": _fastest([first]),
        "warm_prefix_ms": warm_ms,
        "speedup": round(prefill_ms / kv_ms, 1),
        "times_warm_prefix": round(kv_ms / warm_ms, 2),
        "loaded_tokens": loaded[0].kv.loaded_tokens,
        "tokens_identical_as_timed": all(
            answer.tokens == computed[0].tokens for answer in (first, *computed, *loaded)
        ),
    }


def _identical(subject: Subject, lengths: list[int], asked: int) -> list[bool]:
    settings = subject.settings(max(lengths) + asked, kv_bytes=2 << 30)
    found: list[bool] = []
    with EngineProcess(partial(VllmEngine, settings)) as builder:
        payloads = [builder.export_kv(context(length), salt=SALT) for length in lengths]
    with EngineProcess(partial(VllmEngine, settings)) as user:
        for length, payload in zip(lengths, payloads, strict=True):
            prompt = context(length) + question(asked)
            loaded, computed = _cold(user, prompt, payload), _cold(user, prompt)
            whole = loaded.kv.loaded_tokens == length
            found.append(whole and loaded.tokens == computed.tokens)
            say(f"contexts: {length} tokens in float32")
    return found


def _warm(engine: EngineProcess) -> None:
    for length in WARMING_TOKENS:
        _cold(engine, tokens(length, 9))


def _cold(engine: EngineProcess, prompt: tuple[int, ...], kv: KvPayload | None = None) -> Answer:
    assert engine.forget()
    return _again(engine, prompt, kv)


def _again(engine: EngineProcess, prompt: tuple[int, ...], kv: KvPayload | None = None) -> Answer:
    (answer,) = engine.ask([Asked(greedy(prompt), () if kv is None else (kv,))])
    return answer


def _fastest(answers: list[Answer]) -> float:
    return _ms([answer.first_token_s for answer in answers])


def _ms(seconds: list[float]) -> float:
    return round(1e3 * min(seconds), 2)


def _dynamic_caches(
    subject: Subject, lengths: list[int], questions: list[int], tries: int
) -> list[list[float]]:
    """Puts caches in place with transformers and computes each question."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    dtype = getattr(torch, subject.dtype.value)
    model = AutoModelForCausalLM.from_pretrained(subject.folder, dtype=dtype).eval()
    found: list[list[float]] = []
    for length in lengths:
        with torch.inference_mode():
            found.append(_dynamic_cache(model, length, questions, tries))
        say(f"contexts: {length} tokens with transformers")
    return found


def _dynamic_cache(model: Any, length: int, questions: list[int], tries: int) -> list[float]:
    import torch
    from transformers import DynamicCache

    built = DynamicCache(config=model.config)
    model(torch.tensor([context(length)]), past_key_values=built, use_cache=True, logits_to_keep=1)
    held = [(layer.keys.clone(), layer.values.clone()) for layer in built.layers]
    fastest = []
    for size in questions:
        asked, taken = torch.tensor([question(size)]), []
        for _ in range(tries):
            started = time.perf_counter()
            cache = DynamicCache(config=model.config)
            for place, (keys, values) in enumerate(held):
                cache.update(keys, values, place)
            model(asked, past_key_values=cache, use_cache=True, logits_to_keep=1)
            taken.append(time.perf_counter() - started)
        fastest.append(_ms(taken))
    return fastest
