"""Trusted sources over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.sources.models import (
    Deciding,
    DecisionReport,
    FindingList,
    NewSource,
    SourceInfo,
    SourceList,
)

_PATH = "/v1/sources"


class HttpSources:
    """Speaks REST; has the verbs of `SourceService`; every request may be repeated."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def add(self, caller: Caller, new: NewSource, namespace: str | None = None) -> SourceInfo:
        """Adds an edition."""
        body = new.model_dump(mode="json", exclude_none=True)
        return await self._link.call(SourceInfo, "POST", _PATH, caller, body, namespace=namespace)

    async def compare(self, caller: Caller, id: str, namespace: str | None = None) -> SourceInfo:
        """Goes on comparing a source."""
        path = f"{_PATH}/{quote(id, safe='')}/compare"
        return await self._link.call(SourceInfo, "POST", path, caller, namespace=namespace)

    async def list(self, caller: Caller, namespace: str | None = None) -> SourceList:
        """Lists sources."""
        return await self._link.call(SourceList, "GET", _PATH, caller, namespace=namespace)

    async def findings(
        self,
        caller: Caller,
        namespace: str | None = None,
        *,
        source: str | None = None,
        decided: bool = False,
        limit: int = 50,
    ) -> FindingList:
        """Shows findings."""
        return await self._link.call(
            FindingList,
            "GET",
            f"{_PATH}/findings",
            caller,
            namespace=namespace,
            source=source,
            decided=decided,
            limit=limit,
        )

    async def decide(
        self, caller: Caller, which: Deciding, namespace: str | None = None, *, accept: bool
    ) -> DecisionReport:
        """Accepts or refuses findings."""
        path = f"{_PATH}/findings/{'accept' if accept else 'refuse'}"
        body = which.model_dump(mode="json", exclude_none=True)
        return await self._link.call(
            DecisionReport, "POST", path, caller, body, namespace=namespace
        )
