"""Parameter memory over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.rest_link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.parameter_models import (
    ExternaliseResult,
    Externalising,
    LessonList,
    LessonReport,
    Teaching,
)

_PATH = "/v1/adapters"


class HttpParameter:
    """Speaks REST. Implements `ParameterApi`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def teach(self, caller: Caller, teaching: Teaching) -> LessonReport:
        """Begins a lesson."""
        body = teaching.model_dump(mode="json", exclude_unset=True)
        # Twice would be refused: the model is learning already.
        return await self._link.call(LessonReport, "POST", _PATH, caller, body, repeatable=False)

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
