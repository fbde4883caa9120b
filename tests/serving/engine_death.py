"""Program: an engine that dies under four answers, and what those who ask are told, as JSON.

With its core in a thread, a step of it raises; with its core in a process, that is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil

from memos_ray.core.generation import GenerationRequest
from memos_ray.serving.vllm_engine import VllmEngine
from tests.serving.asking import GREEDY, request
from tests.serving.conftest import settings_of


async def outcome(call: Awaitable[object]) -> str:
    """Returns the name of what a call raises."""
    try:
        await call
    except Exception as error:
        return type(error).__name__
    return "nothing"


async def read(
    engine: VllmEngine, asked: GenerationRequest, begun: asyncio.Event | None = None
) -> None:
    """Reads an answer to its end."""
    async with aclosing(engine.generate(asked)) as parts:  # type: ignore[type-var]
        async for _ in parts:
            if begun is not None:
                begun.set()


async def tell(engine: VllmEngine, end: Callable[[], None]) -> dict[str, object]:
    """Ends an engine under four answers."""
    healthy = [engine.healthy]
    long = replace(GREEDY, max_tokens=1500)
    events = [asyncio.Event() for _ in range(4)]
    under_way = [
        asyncio.create_task(outcome(read(engine, replace(request(), sampling=long), begun)))
        for begun in events
    ]
    for begun in events:
        await begun.wait()
    end()
    last = await outcome(read(engine, replace(request(), sampling=long)))
    told = [await one for one in under_way]
    healthy.append(engine.healthy)
    return {
        "under way": told,
        "last": last,
        "later": await outcome(read(engine, request())),
        "forget": await outcome(engine.forget()),
        "healthy": healthy,
    }


def failing_step() -> None:
    """Has the next step of an engine in this process raise, as a broken device does."""
    from vllm.v1.engine.llm_engine import LLMEngine

    def step(self: LLMEngine) -> list[object]:
        raise RuntimeError("an illegal memory access was encountered")

    LLMEngine.step = step


def kill_core() -> None:
    """Kills the processes of an engine."""
    for child in psutil.Process().children(recursive=True):
        os.kill(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    folder, place = Path(sys.argv[1]), sys.argv[2]
    apart = place == "process"
    dying = VllmEngine(settings_of(folder, engine_process=apart))
    found = asyncio.run(tell(dying, kill_core if apart else failing_step))
    dying.close()
    sys.stdout.write(json.dumps(found) + "\n")
