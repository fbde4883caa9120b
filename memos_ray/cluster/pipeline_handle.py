"""The runner of pipelines, carried by Ray."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from memos_ray.cluster.authorities import SupervisorHandle
from memos_ray.cluster.packing import pack, unpack
from memos_ray.cluster.remote import RemoteActor
from memos_ray.core.access.context import CallContext
from memos_ray.core.pipeline.definition import PipelineSpec, Scalar
from memos_ray.core.pipeline.run import Run
from memos_ray.core.pipeline.stored import StoredPipeline
from memos_ray.errors import DeadlineExceededError, OverloadedError, UnavailableError

PIPELINES = "pipelines"
_PATIENCE_S = 30.0
_PAUSE_S = 0.2


class PipelineHandle:
    """The remote runner, started when it is first needed. Implements `ports.PipelinesPort`.

    A call that finds it away, as while Ray starts it again, is repeated for a while: a run has a
    key, and everything else but `keep` does the same twice as once.
    """

    def __init__(self, namespace: str) -> None:
        self._actor = RemoteActor(PIPELINES, namespace)
        self._supervisor = SupervisorHandle(namespace)
        self._started = False

    async def resume(self) -> None:
        """Has it go on with what it finds."""
        await self._actor.call("call", "resume", pack(()))

    async def pid(self) -> int:
        """Returns the process id of the runner."""
        pid: int = await self._call("pid")
        return pid

    async def start(
        self, context: CallContext, spec: PipelineSpec, params: Mapping[str, Scalar], key: str
    ) -> Run:
        """Begins a run."""
        run: Run = await self._call("start", context.hop(), spec, dict(params), key)
        return run

    async def run(self, context: CallContext, run_id: str) -> Run:
        """Returns a run."""
        run: Run = await self._call("run", context.hop(), run_id)
        return run

    async def runs(self, context: CallContext) -> list[Run]:
        """Returns the runs of the caller."""
        runs: list[Run] = await self._call("runs", context.hop())
        return runs

    async def cancel(self, context: CallContext, run_id: str) -> Run:
        """Ends a run."""
        run: Run = await self._call("cancel", context.hop(), run_id)
        return run

    async def check(self, context: CallContext, spec: PipelineSpec) -> list[str]:
        """Returns what a run would fail of."""
        found: list[str] = await self._call("check", context.hop(), spec)
        return found

    async def counts(self) -> dict[str, int]:
        """Returns counts of runs and steps; does not wait for a runner that is away."""
        counts: dict[str, int] = unpack(await self._actor.call("call", "counts", pack(())))
        return counts

    async def keep(
        self, context: CallContext, namespace: str, spec: PipelineSpec
    ) -> StoredPipeline:
        """Stores a new version of a named pipeline."""
        stored: StoredPipeline = await self._call("keep", context.hop(), namespace, spec)
        return stored

    async def kept(self, context: CallContext, namespace: str) -> list[StoredPipeline]:
        """Returns the pipelines of a namespace."""
        found: list[StoredPipeline] = await self._call("kept", context.hop(), namespace)
        return found

    async def template(
        self, context: CallContext, namespace: str, name: str, version: int | None
    ) -> StoredPipeline:
        """Returns a version of a pipeline."""
        stored: StoredPipeline = await self._call(
            "template", context.hop(), namespace, name, version
        )
        return stored

    async def _call(self, method: str, *args: Any) -> Any:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                if not self._started:
                    await self._supervisor.start_pipelines()
                    self._started = True
                return unpack(await self._actor.call("call", method, pack(args)))
            except (OverloadedError, DeadlineExceededError):
                raise
            except UnavailableError:
                # It may be gone for good, with all who knew that it was there.
                self._started = False
                if method == "keep" or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_PAUSE_S)
