"""Receipts over HTTP."""

from __future__ import annotations

from urllib.parse import quote

from memos_ray.client.rest_link import RestLink
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.records.receipt_models import ErasureReceipt


class HttpReceipts:
    """Speaks REST. Implements `ReceiptApi`."""

    def __init__(self, link: RestLink) -> None:
        self._link = link

    async def receipt(
        self, caller: Caller, memory_id: str, namespace: str | None = None
    ) -> ErasureReceipt:
        """Returns the receipt of an erased memory."""
        path = f"/v1/memories/{quote(memory_id, safe=':')}/receipt"
        return await self._link.call(ErasureReceipt, "GET", path, caller, namespace=namespace)
