"""A MemOS with memories of one case, and runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from memos_ray.core.generation import ChatRequest, FinishReason, GenerationPart, KvUse
from memos_ray.core.pipeline.definition import read_definition
from memos_ray.core.pipeline.run import ENDED
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.gateway.pipelines.models import RunReport, RunRequest
from memos_ray.ports import ModelPort
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.pipelines import RememberedHooks

HOOK = "https://hooks.example/case"


@dataclass(slots=True)
class WaitingModel:
    """Answers when it is let: whatever comes between two steps can happen meanwhile."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def chat(
        self, request: ChatRequest, kv: Sequence[object] = (), weights: object | None = None
    ) -> AsyncGenerator[GenerationPart, None]:
        """Yields two words."""
        self.asked.set()
        await self.go.wait()
        yield GenerationPart("new words", (1, 2), FinishReason.STOP, KvUse())

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class Bench:
    """What a test works with."""

    memos: InProcess
    hooks: RememberedHooks
    waiting: WaitingModel

    async def add(self, id: str, text: str, *tags: str, namespace: str | None = None) -> None:
        """Stores a memory."""
        memory = NewMemory(id=id, text=text, tags=list(tags))
        report = await self.memos.service.add(self.memos.administrator, [memory], namespace)
        assert not report.failed, report

    async def text(self, id: str, namespace: str | None = None) -> str:
        """Returns the text of a memory."""
        return (await self.memos.service.get(self.memos.administrator, id, namespace)).text

    async def start(self, *steps: dict[str, Any], **fields: Any) -> RunReport:
        """Begins a run of some steps."""
        params = fields.pop("params", {})
        definition = read_definition(
            {"name": "case", "parameters": {name: {} for name in params}, "steps": [*steps]}
        )
        caller = fields.pop("caller", self.memos.administrator)
        caller = replace(caller, policy=fields.pop("policy", 0))
        wanted = RunRequest(definition=definition, params=params, **fields)
        return await self.memos.doorway.pipelines.run(caller, wanted)

    async def ended(self, run_id: str, caller: Caller | None = None) -> RunReport:
        """Waits for the end of a run."""
        pipelines = self.memos.doorway.pipelines
        who = caller or self.memos.administrator

        async with asyncio.timeout(60):
            while (report := await pipelines.status(who, run_id)).state not in ENDED:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return report

    async def done(self, *steps: dict[str, Any], **fields: Any) -> RunReport:
        """Runs some steps to the end."""
        caller = fields.get("caller")
        return await self.ended((await self.start(*steps, **fields)).id, caller)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    hooks = RememberedHooks((HOOK,))
    waiting = WaitingModel()
    models: dict[str, ModelPort] = {"quoting": QuotingModel(), "waiting": waiting}
    async with in_process(tmp_path, hooks=hooks, models=models) as memos:
        made = Bench(memos, hooks, waiting)
        await made.add("f1", "The lease began in March.", "fact")
        await made.add("f2", "The tenant paid until June.", "fact", "money")
        await made.add("summary", "Nothing is known yet.", "summary")
        yield made
