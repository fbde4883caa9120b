"""Plain vLLM in an actor, which loads adapters from folders: what ours is compared with."""

from __future__ import annotations

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from memos_ray.core.parameter import AdapterPayload

_RANKS = (8, 16, 32, 64, 128, 256)
"""What vLLM can reserve."""


@dataclass(frozen=True, slots=True)
class PathSettings:
    """What the engine is given.

    Attributes:
        longest: tokens of a prompt with its answer.
        rank: of the largest adapter.
        slots: adapters that may be computed with at once.
        held: adapters in host memory.
    """

    model: Path
    dtype: str
    longest: int
    rank: int
    slots: int
    held: int
    kv_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class PathAnswer:
    """An answer, and when its first and its last token came, in seconds after the call."""

    tokens: tuple[int, ...]
    first_s: float
    whole_s: float


class PathReplica:
    """An engine in one thread, which answers many at once."""

    def __init__(self, settings: PathSettings) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1)
        self._engine = self._thread.submit(_engine, settings).result()
        self._asked: dict[str, asyncio.Future[PathAnswer]] = {}
        self._started: dict[str, tuple[float, float | None]] = {}
        self._ids: dict[Path, int] = {}
        self._pump: asyncio.Task[None] | None = None

    async def forget(self) -> None:
        """Drops the prefix cache."""
        assert await self._run(self._engine.reset_prefix_cache)

    async def answer(
        self, prompt: tuple[int, ...], folder: Path | None = None, max_tokens: int = 8
    ) -> PathAnswer:
        """Answers greedily, with the adapter in a folder."""
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = None
        if folder is not None:
            number = self._ids.setdefault(folder, len(self._ids) + 1)
            adapter = LoRARequest(folder.name, number, str(folder))
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)
        name = uuid4().hex
        self._asked[name] = asyncio.get_running_loop().create_future()
        self._started[name] = time.perf_counter(), None
        inputs = {"prompt_token_ids": list(prompt)}
        await self._run(self._engine.add_request, name, inputs, sampling, lora_request=adapter)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._steps())
        return await self._asked[name]

    async def _steps(self) -> None:
        while self._asked:
            for output in await self._run(self._engine.step):
                self._take(output)

    def _take(self, output: Any) -> None:
        name, now = output.request_id, time.perf_counter()
        started, first = self._started[name]
        first = now if first is None else first
        self._started[name] = started, first
        if output.finished:
            del self._started[name]
            said = tuple(output.outputs[0].token_ids)
            answer = PathAnswer(said, first - started, now - started)
            self._asked.pop(name).set_result(answer)

    async def _run(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))


def write_folder(folder: Path, payload: AdapterPayload) -> Path:
    """Writes an adapter as PEFT does."""
    folder.mkdir()
    manifest = payload.manifest
    config = {
        "peft_type": "LORA",
        "r": manifest.rank,
        "lora_alpha": manifest.alpha,
        "target_modules": list(manifest.targets),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(payload.data.tobytes())
    return folder


def _engine(settings: PathSettings) -> Any:
    os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1")
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    arguments = EngineArgs(
        model=str(settings.model),
        dtype=settings.dtype,
        seed=0,
        max_model_len=settings.longest,
        max_num_batched_tokens=settings.longest,
        max_num_seqs=8,
        block_size=32,
        kv_cache_memory_bytes=settings.kv_bytes,
        enforce_eager=True,
        enable_lora=True,
        max_loras=settings.slots,
        max_cpu_loras=settings.held,
        max_lora_rank=next(each for each in _RANKS if each >= settings.rank),
        disable_log_stats=True,
    )
    return LLMEngine.from_engine_args(arguments)
