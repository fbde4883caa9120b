"""Parameter memory over HTTP."""

from __future__ import annotations

from urllib.parse import quote

import orjson

from memos_ray.client.http.proposals import HttpProposals
from memos_ray.core.parameter.peft_format import CONFIG_FILE, TENSORS_FILE
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.parameter.models import (
    AdapterFiles,
    ExternaliseResult,
    Externalising,
    LessonList,
    LessonReport,
    Merging,
    Teaching,
)

_PATH = "/v1/adapters"


class HttpParameter(HttpProposals):
    """Speaks REST; has the verbs of `ParameterService`."""

    async def teach(self, caller: Caller, teaching: Teaching) -> LessonReport:
        """Begins a lesson."""
        body = teaching.model_dump(mode="json", exclude_unset=True)
        # Twice would be refused: the model is learning already.
        return await self._link.call(LessonReport, "POST", _PATH, caller, body, repeatable=False)

    async def merge(self, caller: Caller, merging: Merging) -> LessonReport:
        """Begins to combine adapters."""
        body = merging.model_dump(mode="json", exclude_unset=True)
        path = f"{_PATH}/merge"
        return await self._link.call(LessonReport, "POST", path, caller, body, repeatable=False)

    async def bring(
        self, caller: Caller, sources: Teaching, config: bytes, tensors: bytes
    ) -> LessonReport:
        """Begins to check an adapter that was made elsewhere."""
        about = sources.model_dump(mode="json", exclude_unset=True)
        form = {
            "about": (None, orjson.dumps(about), "application/json"),
            "config": (CONFIG_FILE, config, "application/json"),
            "weights": (TENSORS_FILE, tensors, "application/octet-stream"),
        }
        path = f"{_PATH}/import"
        return await self._link.call(
            LessonReport, "POST", path, caller, form=form, repeatable=False
        )

    async def files(
        self, caller: Caller, adapter_id: str, namespace: str | None = None
    ) -> AdapterFiles:
        """Returns an adapter's files."""
        path = f"{_PATH}/{quote(adapter_id, safe=':')}"
        _, pieces = await self._link.download(f"{path}/config", caller, namespace=namespace)
        config = b"".join([piece async for piece in pieces])
        size, tensors = await self._link.download(f"{path}/weights", caller, namespace=namespace)
        return AdapterFiles(config, tensors, size)

    async def lessons(self, caller: Caller, namespace: str | None = None) -> LessonList:
        """Lists lessons and adapters."""
        return await self._link.call(LessonList, "GET", _PATH, caller, namespace=namespace)

    async def lesson(
        self, caller: Caller, lesson_id: str, namespace: str | None = None
    ) -> LessonReport:
        """Shows a lesson."""
        path = f"{_PATH}/{quote(lesson_id, safe=':')}"
        return await self._link.call(LessonReport, "GET", path, caller, namespace=namespace)

    async def cancel(
        self, caller: Caller, lesson_id: str, namespace: str | None = None
    ) -> LessonReport:
        """Ends a lesson."""
        path = f"{_PATH}/{quote(lesson_id, safe=':')}/cancel"
        return await self._link.call(LessonReport, "POST", path, caller, namespace=namespace)

    async def externalise(
        self,
        caller: Caller,
        adapter_id: str,
        how: Externalising,
        namespace: str | None = None,
    ) -> ExternaliseResult:
        """Makes plaintext memories from an adapter."""
        path = f"{_PATH}/{quote(adapter_id, safe=':')}/externalise"
        body = how.model_dump(mode="json")
        return await self._link.call(
            ExternaliseResult, "POST", path, caller, body, namespace=namespace
        )
