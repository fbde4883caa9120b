"""Extraction over HTTP."""

from __future__ import annotations

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.extraction.models import ExtractionRetried, ExtractionStatus

_PATH = "/v1/extraction"


class HttpExtraction:
    """Speaks REST; has the verbs of `ExtractionService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def status(self, caller: Caller, namespace: str | None = None) -> ExtractionStatus:
        """Says how extraction stands."""
        return await self._link.call(ExtractionStatus, "GET", _PATH, caller, namespace=namespace)

    async def retry(
        self, caller: Caller, job: str | None = None, namespace: str | None = None
    ) -> ExtractionRetried:
        """Has parked jobs tried again."""
        # Twice would find nothing parked any more.
        return await self._link.call(
            ExtractionRetried,
            "POST",
            f"{_PATH}/retry",
            caller,
            {"job": job},
            namespace=namespace,
            repeatable=job is None,
        )

    async def automate(
        self, caller: Caller, namespace: str | None = None, *, automatic: bool
    ) -> ExtractionStatus:
        """Has all that is stored read, or only what is marked."""
        path, body = f"{_PATH}/automatic", {"automatic": automatic}
        return await self._link.call(
            ExtractionStatus, "PUT", path, caller, body, namespace=namespace
        )
