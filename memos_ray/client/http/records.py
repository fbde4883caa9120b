"""What is on record of memories, over HTTP: logs, provenance and receipts."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.http.link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.record_models import LogFilter, LogPage
from memos_ray.gateway.records.provenance_models import Direction, Provenance
from memos_ray.gateway.records.receipt_models import ErasureReceipt


class HttpLogs:
    """Speaks REST; has the verbs of `LogService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def log(
        self,
        caller: Caller,
        namespace: str | None = None,
        *,
        wanted: LogFilter | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> LogPage:
        """Reads a log."""
        fields = (wanted or LogFilter()).model_dump(mode="json", exclude_defaults=True)
        return await self._link.call(
            LogPage,
            "GET",
            "/v1/log",
            caller,
            namespace=namespace,
            cursor=cursor,
            limit=limit,
            **fields,
        )


class HttpProvenance:
    """Speaks REST; has the verbs of `ProvenanceService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def provenance(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        direction: Direction = Direction.BOTH,
        depth: int = 3,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Provenance:
        """Returns a page of a memory's lineage."""
        return await self._link.call(
            Provenance,
            "GET",
            f"/v1/memories/{quote(memory_id, safe=':')}/provenance",
            caller,
            namespace=namespace,
            direction=direction.value,
            depth=depth,
            cursor=cursor,
            limit=limit,
        )


class HttpReceipts:
    """Speaks REST; has the verbs of `ReceiptService`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def receipt(
        self, caller: Caller, memory_id: str, namespace: str | None = None
    ) -> ErasureReceipt:
        """Returns the receipt of an erased memory."""
        path = f"/v1/memories/{quote(memory_id, safe=':')}/receipt"
        return await self._link.call(ErasureReceipt, "GET", path, caller, namespace=namespace)
