"""How receipts rest: a row each, beside the memories of their partition.

Those that are pending are apart, so that whoever takes a partition over reads only them; so are
those of sweeps, which alone are forgotten when they are old.
"""

from __future__ import annotations

from datetime import datetime

import orjson

from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.core.vault.receipts import Derived, ErasedThing, Receipt
from memos_ray.ports import Derivation

KIND, COLLECTED, WAITING = "receipt", "receipt_collected", "receipt_waiting"


def name_of(receipt: Receipt) -> str:
    """Names the row of a receipt."""
    # A memory that a sweep has collected may be made anew, and erased once more.
    return f"collected:{receipt.lsn}" if receipt.memory_ids else receipt.memory_id


def kind_of(receipt: Receipt) -> str:
    """Returns the kind of its row."""
    if not receipt.signature:
        return WAITING
    return COLLECTED if receipt.memory_ids else KIND


def row_of(receipt: Receipt) -> Derivation:
    """Encodes a receipt."""
    body = orjson.dumps(
        {
            "memory_ids": receipt.memory_ids,
            "principal": receipt.principal,
            "lsn": receipt.lsn,
            "erased_at": to_micros(receipt.erased_at),
            "completed_at": _micros(receipt.completed_at),
            "things": [
                [thing.kind, thing.name, thing.digest, _micros(thing.done_at)]
                for thing in receipt.things
            ],
            "signature": receipt.signature.hex(),
        }
    )
    name, kind = name_of(receipt), kind_of(receipt)
    return Derivation(receipt.tenant, kind, name, receipt.namespace, "", 0, body)


def receipt_of(partition: int, row: Derivation) -> Receipt:
    """Decodes `row_of`."""
    body = orjson.loads(row.body)
    ids = tuple(body.get("memory_ids", ()))
    return Receipt(
        row.tenant,
        row.namespace,
        ids[0] if ids else row.name,
        body["principal"],
        partition,
        body["lsn"],
        from_micros(body["erased_at"]),
        tuple(
            ErasedThing(Derived(kind), name, digest, None if at is None else from_micros(at))
            for kind, name, digest, at in body["things"]
        ),
        None if body["completed_at"] is None else from_micros(body["completed_at"]),
        bytes.fromhex(body["signature"]),
        ids,
    )


def _micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)
