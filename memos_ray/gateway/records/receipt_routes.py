"""Receipts of erasures."""

from __future__ import annotations

from fastapi import APIRouter

from memos_ray.gateway.records.receipt_models import ErasureReceipt
from memos_ray.gateway.requests import CallerDep, DoorwayDep, Id, JsonRoute, Namespace

router = APIRouter(route_class=JsonRoute, tags=["memories"])


@router.get("/memories/{id}/receipt")
async def erasure_receipt(
    id: Id, caller: CallerDep, doorway: DoorwayDep, namespace: Namespace = None
) -> ErasureReceipt:
    """Says what the erasure of a memory has retired, and whether anything of it is left.

    For who has erased it, and for administrators of the tenant. Signed when it is done.
    """
    return await doorway.receipts.receipt(caller, id, namespace)
