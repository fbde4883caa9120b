"""What a model extracts from memories: `memos.extraction`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memos_ray.client.arguments import check
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.extraction.models import ExtractionRetried, ExtractionStatus

if TYPE_CHECKING:
    from memos_ray.client.http.extraction import HttpExtraction
    from memos_ray.gateway.extraction.service import ExtractionService


class AsyncExtraction:
    """What a model extracts from memories that are stored with `extract`."""

    def __init__(
        self, api: HttpExtraction | ExtractionService, caller: Callable[[], Caller]
    ) -> None:
        self._api = api
        self._caller = caller

    async def status(self, namespace: str | None = None) -> ExtractionStatus:
        """Says what was extracted in a namespace, what waits and what was parked.

        Jobs and sources are the caller's own; who administers the namespace sees all.
        """
        check(namespace=namespace)
        return await self._api.status(self._caller(), namespace)

    async def retry(
        self, job: str | None = None, *, namespace: str | None = None
    ) -> ExtractionRetried:
        """Has a parked job tried again, or all of the caller's.

        Raises:
            NotFoundError: there is no such parked job of the caller's.
        """
        check(namespace=namespace)
        return await self._api.retry(self._caller(), job, namespace)

    async def automate(
        self, automatic: bool = True, *, namespace: str | None = None
    ) -> ExtractionStatus:
        """Has a model read all that is stored in a namespace from now on, or only what is marked.

        Raises:
            PermissionDeniedError: the caller does not administer the namespace.
            InvalidInputError: no model is set up.
        """
        check(namespace=namespace)
        return await self._api.automate(self._caller(), namespace, automatic=automatic)
