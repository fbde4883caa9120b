"""Receipts of erasures, as callers get them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from memos_ray.core.vault.receipts import Derived, ErasedThing, Receipt, verify
from memos_ray.gateway.fields import Model


class ErasedItem(Model):
    """Something that was derived from an erased memory.

    `name` is its id within its kind, and `digest` that of its content, where there is one.
    """

    kind: Derived
    name: str
    digest: str = ""
    state: Literal["pending", "done"]
    done_at: datetime | None = None


class ErasureReceipt(Model):
    """What an erasure has retired.

    It is `done` when nothing of all that is left; then it is signed: `signature` is over `digest`,
    blake2b-256 of the receipt's canonical JSON, and `public_key` is the cluster's. Both are hex.
    What a sweep has collected at once has one receipt, whose `ids` are all of those memories.
    """

    id: str
    ids: list[str] = []
    tenant: str
    namespace: str
    principal: str
    partition: int
    lsn: int
    erased_at: datetime
    state: Literal["pending", "done"]
    completed_at: datetime | None = None
    items: list[ErasedItem]
    digest: str
    signature: str = ""
    public_key: str

    def verified(self, public_key: str | None = None) -> bool:
        """Tells whether a cluster has signed exactly this.

        Args:
            public_key: of the cluster, hex, as you know it from elsewhere; the receipt's own when
                absent, which shows only that nothing has been changed since.
        """
        things = tuple(
            ErasedThing(item.kind, item.name, item.digest, item.done_at) for item in self.items
        )
        try:
            receipt = Receipt(
                self.tenant,
                self.namespace,
                self.id,
                self.principal,
                self.partition,
                self.lsn,
                self.erased_at,
                things,
                self.completed_at,
                bytes.fromhex(self.signature),
                tuple(self.ids),
            )
            key = bytes.fromhex(public_key or self.public_key)
        except ValueError:
            return False
        return receipt.digest == self.digest and verify(key, receipt)
