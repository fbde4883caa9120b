"""Pipelines over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink, new_key
from memos_ray.core.pipeline.definition import PipelineSpec
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.pipelines.models import (
    PipelineOrder,
    RunList,
    RunReport,
    RunRequest,
    StoredPipelineInfo,
    StoredPipelineList,
)

_PATH = "/v1/pipelines"


class HttpPipelines:
    """Speaks REST; has the verbs of `PipelineService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def validate(self, caller: Caller, definition: PipelineSpec) -> PipelineOrder:
        """Checks a pipeline."""
        body = definition.model_dump(mode="json")
        return await self._link.call(PipelineOrder, "POST", f"{_PATH}/validate", caller, body)

    async def run(self, caller: Caller, wanted: RunRequest) -> RunReport:
        """Begins a run."""
        body = wanted.model_dump(mode="json", exclude={"idempotency_key"})
        # A run has a key in any case, so that a request that is repeated begins no second one.
        key = wanted.idempotency_key or new_key()
        return await self._link.call(RunReport, "POST", f"{_PATH}/runs", caller, body, key=key)

    async def status(self, caller: Caller, run_id: str) -> RunReport:
        """Shows a run."""
        path = f"{_PATH}/runs/{quote(run_id, safe=':')}"
        return await self._link.call(RunReport, "GET", path, caller)

    async def runs(self, caller: Caller) -> RunList:
        """Lists runs."""
        return await self._link.call(RunList, "GET", f"{_PATH}/runs", caller)

    async def cancel(self, caller: Caller, run_id: str) -> RunReport:
        """Ends a run."""
        path = f"{_PATH}/runs/{quote(run_id, safe=':')}/cancel"
        return await self._link.call(RunReport, "POST", path, caller)

    async def keep(
        self, caller: Caller, name: str, definition: PipelineSpec, namespace: str | None = None
    ) -> StoredPipelineInfo:
        """Stores a new version of a named pipeline."""
        path = f"{_PATH}/templates/{quote(name, safe='')}"
        body = definition.model_dump(mode="json")
        return await self._link.call(
            StoredPipelineInfo, "PUT", path, caller, body, repeatable=False, namespace=namespace
        )

    async def templates(self, caller: Caller, namespace: str | None = None) -> StoredPipelineList:
        """Lists the pipelines of a namespace."""
        path = f"{_PATH}/templates"
        return await self._link.call(StoredPipelineList, "GET", path, caller, namespace=namespace)
