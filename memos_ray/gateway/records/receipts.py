"""ReceiptService: the receipts of erasures, for all doors."""

from __future__ import annotations

from typing import Literal

from memos_ray.core.vault.receipts import Receipt
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.records.receipt_models import ErasedItem, ErasureReceipt
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort


class ReceiptService:
    """Shows receipts to those who have erased, and to those who may read the tenant's log."""

    def __init__(
        self,
        *,
        router: Router,
        authenticator: Authenticator,
        clock: ClockPort,
        public_key: bytes,
    ) -> None:
        self._router = router
        self._authenticator = authenticator
        self._placement = Placement(router, clock)
        self._public_key = public_key

    async def receipt(
        self, caller: Caller, memory_id: str, namespace: str | None = None
    ) -> ErasureReceipt:
        """Returns the receipt of an erased memory.

        Raises:
            NotFoundError: there is none for this caller.
        """
        context, _ = await self._authenticator.context(caller)
        hop = context.hop()

        async def act(partition: int) -> Receipt:
            return await self._router.call(
                partition, lambda shard, _: shard.receipt(partition, hop, memory_id)
            )

        found = await self._placement.find(context, memory_id, namespace, act)
        return ErasureReceipt(
            id=found.memory_id,
            ids=list(found.memory_ids),
            tenant=found.tenant,
            namespace=found.namespace,
            principal=found.principal,
            partition=found.partition,
            lsn=found.lsn,
            erased_at=found.erased_at,
            state=_state(bool(found.signature)),
            completed_at=found.completed_at,
            items=[
                ErasedItem(
                    kind=thing.kind,
                    name=thing.name,
                    digest=thing.digest,
                    state=_state(thing.done_at is not None),
                    done_at=thing.done_at,
                )
                for thing in found.things
            ],
            digest=found.digest,
            signature=found.signature.hex(),
            public_key=self._public_key.hex(),
        )


def _state(done: bool) -> Literal["pending", "done"]:
    return "done" if done else "pending"
