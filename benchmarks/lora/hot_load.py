"""Time from an adapter in Ray's object store to the first token with it, beside the base model's.

The engine runs in an actor, in a process of its own, as a replica's does; every adapter is new to
it. For each size, medians in milliseconds:

    base_ttft      the base model, the same prompt; vLLM leaves its adapters' arithmetic out then
    hot_ttft       the reference is fetched, the adapter verified, loaded, placed, and used
    over_base      the difference of the two, pair by pair
    switch_ttft    the adapter is in host memory, its slot was another's
    placed_ttft    the adapter has its slot: what is left is the arithmetic
    path_ttft      plain vLLM on the same model, the adapter in a folder on disk, in the page cache;
                   `path_base_ttft`: its base model

`disk_write_bytes` is what the replica's process has written to storage during all hot loads, as the
kernel counts it: its log is in it, memory file systems are not.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import ray

from benchmarks.lora.path_replica import PathReplica, PathSettings, write_folder
from benchmarks.metrics import percentile
from benchmarks.ttft.subject import WARMING_TOKENS, Subject, greedy, question, say, tokens
from memos_ray.config import ModelSettings
from memos_ray.core.parameter import AdapterPayload
from memos_ray.serving.model_files import layer_shapes, weights_digest
from memos_ray.serving.vllm_engine import VllmEngine
from memos_ray.testing.random_adapters import random_adapter

_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_SLOTS = 2
_CPUS = 4


class AdapterReplica:
    """A replica with nothing before its engine."""

    def __init__(self, settings: ModelSettings) -> None:
        self._engine = VllmEngine(settings)

    async def answer(
        self, prompt: tuple[int, ...], adapter: str = "", references: Sequence[Any] = ()
    ) -> float:
        """Answers on an engine new to the prompt; returns seconds to the first token.

        Args:
            references: to the adapter in the object store, or nothing when it is loaded.
        """
        assert await self._engine.forget()
        started, first_s = time.perf_counter(), None
        for reference in references:
            await self._engine.load_adapter(await reference)
        async for _ in self._engine.generate(greedy(prompt, adapter)):
            first_s = time.perf_counter() - started if first_s is None else first_s
        assert first_s is not None
        return first_s

    def written_bytes(self) -> int:
        """Returns how much this process has written to storage."""
        return int(psutil.Process().io_counters().write_bytes)


def measure(
    subject: Subject, sizes_mb: Sequence[float], prompt_tokens: int, tries: int
) -> dict[str, Any]:
    """Returns the figures by size of the adapter."""
    ray.init(
        address="local",
        num_cpus=_CPUS,
        num_gpus=0,
        object_store_memory=max(1 << 28, int(2e6 * (tries + 2) * max(sizes_mb))),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        return {f"{size:g}_mb": _of_size(subject, size, prompt_tokens, tries) for size in sizes_mb}
    finally:
        ray.shutdown()


def adapters(subject: Subject, size_mb: float, count: int) -> list[AdapterPayload]:
    """Returns different adapters of about a size, for all layers of a model."""
    base, shapes = weights_digest(subject.folder), layer_shapes(subject.folder)
    rank = max(1, round(size_mb * 1e6 / sum(4 * sum(shape) for shape in shapes.values())))
    return [
        random_adapter(base, shapes, seed=seed, rank=rank, targets=_TARGETS, std=0.02)
        for seed in range(count)
    ]


def _of_size(subject: Subject, size_mb: float, prompt_tokens: int, tries: int) -> dict[str, Any]:
    made = adapters(subject, size_mb, tries + 2)
    rank, size = made[0].manifest.rank, made[0].data.size
    settings = subject.settings(
        prompt_tokens,
        adapter_slots=_SLOTS,
        adapter_rank_max=rank,
        adapter_host_bytes=(tries + 3) * size,
    )
    replica: Any = ray.remote(num_cpus=1)(AdapterReplica).remote(settings)
    taken = _memory_times(replica, made, prompt_tokens)
    written = taken.pop("disk_write_bytes")
    ray.kill(replica)
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as folder:
        folders = [write_folder(Path(folder) / f"adapter{n}", one) for n, one in enumerate(made)]
        plain: Any = ray.remote(num_cpus=1)(PathReplica).remote(
            PathSettings(
                subject.folder,
                subject.dtype.value,
                settings.context_tokens,
                rank,
                slots=_SLOTS,
                held=len(made),
            )
        )
        taken |= _path_times(plain, folders, prompt_tokens)
        ray.kill(plain)
    over = [hot - base for hot, base in zip(taken["hot_ttft"], taken["base_ttft"], strict=True)]
    path = zip(taken["path_ttft"], taken["path_base_ttft"], strict=True)
    say(f"hot_load: {size_mb:g} MB done")
    return {
        "adapter_mb": round(size / 1e6, 2),
        "rank": rank,
        "prompt_tokens": prompt_tokens,
        "tries": tries,
        **{f"{name}_ms": _ms(median(each)) for name, each in taken.items()},
        "over_base_ms": _ms(median(over)),
        "over_base_p95_ms": _ms(percentile(over, 0.95)),
        "path_over_base_ms": _ms(median([adapted - base for adapted, base in path])),
        "disk_write_bytes": written,
    }


def _memory_times(
    replica: Any, made: Sequence[AdapterPayload], prompt_tokens: int
) -> dict[str, Any]:
    references = [ray.put(payload) for payload in made]
    names = [payload.manifest.digest for payload in made]
    for length in (*WARMING_TOKENS[:1], prompt_tokens):
        ray.get(replica.answer.remote(tokens(length, 9)))
    # The first adapters pay for code that later ones find ready; they fill the slots, too.
    for name, reference in zip(names[:_SLOTS], references[:_SLOTS], strict=True):
        ray.get(replica.answer.remote(tokens(prompt_tokens, 9), name, [reference]))
    written = ray.get(replica.written_bytes.remote())
    taken: dict[str, Any] = {"base_ttft": [], "hot_ttft": [], "switch_ttft": [], "placed_ttft": []}
    for number in range(_SLOTS, len(made)):
        prompt, name = question(prompt_tokens, number), names[number]
        taken["base_ttft"].append(ray.get(replica.answer.remote(prompt)))
        hot = replica.answer.remote(prompt, name, [references[number]])
        taken["hot_ttft"].append(ray.get(hot))
        taken["placed_ttft"].append(ray.get(replica.answer.remote(prompt, name)))
    taken["disk_write_bytes"] = ray.get(replica.written_bytes.remote()) - written
    for number in range(_SLOTS, len(made)):
        # Two slots, three or more adapters by turns: each has lost its slot when it comes again.
        switch = replica.answer.remote(question(prompt_tokens, number), names[number])
        taken["switch_ttft"].append(ray.get(switch))
    return taken


def _path_times(plain: Any, folders: Sequence[Path], prompt_tokens: int) -> dict[str, list[float]]:
    def first_s(prompt: tuple[int, ...], folder: Path | None = None) -> float:
        ray.get(plain.forget.remote())
        return float(ray.get(plain.answer.remote(prompt, folder)).first_s)

    for folder in (None, *folders[:_SLOTS]):
        first_s(tokens(prompt_tokens, 9), folder)
    taken: dict[str, list[float]] = {"path_base_ttft": [], "path_ttft": []}
    for number, folder in enumerate(folders[_SLOTS:], start=_SLOTS):
        prompt = question(prompt_tokens, number)
        taken["path_base_ttft"].append(first_s(prompt))
        taken["path_ttft"].append(first_s(prompt, folder))
    return taken


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 2)
