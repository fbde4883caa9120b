"""Receipts of erasures: what a client needs of a service."""

from __future__ import annotations

from typing import Protocol

from memos_ray.gateway.callers import Caller
from memos_ray.gateway.records.receipt_models import ErasureReceipt


class ReceiptApi(Protocol):
    """Receipts of erasures; every method raises the errors of `memos_ray.errors`."""

    async def receipt(
        self, caller: Caller, memory_id: str, namespace: str | None = None
    ) -> ErasureReceipt:
        """Returns the receipt of an erased memory."""
        ...
