"""Receipts of erasures: what was derived from a memory, and that nothing of it is left.

A receipt names things by ids and digests; nothing of the memory itself is in it, not even a digest
of its text, from which somebody could guess it. Once complete, the authority signs it (Ed25519, RFC
8032) over blake2b-256 of its canonical JSON, with the key that policies are signed with and under a
label of its own, so that neither passes for the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.identity import digest

_NAME_DIGITS = 32


class Derived(StrEnum):
    """What is made of memories."""

    KV = "kv"
    """A KV cache, hot or at rest."""
    ADAPTER = "adapter"
    """A LoRA adapter: its file, and its weights in the replicas."""
    LESSON = "lesson"
    """A lesson that was under way."""
    EMBEDDINGS = "embeddings"
    """Vectors in the record store; they go in the erasure itself."""
    BRANCH = "branch"
    """What branches have taken over from it, should there be any."""
    INDEX = "index"
    """The rows of the vector store."""
    OPINION = "opinion"
    """What a principal has said of it."""
    ARCHIVE = "archive"
    """Its texts in the files of the archive, should there be any."""
    JOURNAL = "journal"
    """What runs of pipelines hold of it, should there be any."""
    EXTRACTED = "extracted"
    """The memories that were extracted or split from it, or sum it up, should there be any."""
    EXTERNALISED = "externalised"
    """Text that an adapter was turned back into which had learnt it; see `text_name`."""


@crossing
@dataclass(frozen=True, slots=True)
class ErasedThing:
    """Something that an erasure retired.

    Attributes:
        name: within its kind.
        digest: of its content, where there is one.
        done_at: when nothing of it was left; absent while something is.
    """

    kind: Derived
    name: str
    digest: str = ""
    done_at: datetime | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Receipt:
    """The receipt of one erasure, or of what a sweep has collected at once.

    Attributes:
        memory_id: of the memory; of a sweep's, the first one.
        memory_ids: all of a sweep's; empty for an erasure that somebody asked for.
        principal: who has erased the memory.
        lsn: of the erasure, in the log of `partition`.
        completed_at: when nothing was left any more.
        signature: 64 bytes, once it is complete.
    """

    tenant: str
    namespace: str
    memory_id: str
    principal: str
    partition: int
    lsn: int
    erased_at: datetime
    things: tuple[ErasedThing, ...]
    completed_at: datetime | None = None
    signature: bytes = b""
    memory_ids: tuple[str, ...] = ()

    @property
    def erased(self) -> tuple[str, ...]:
        """The memories that it is about."""
        return self.memory_ids or (self.memory_id,)

    @property
    def digest(self) -> str:
        """blake2b-256, hex, of everything but the signature."""
        return digest(b"memos-receipt-1", canonical(self))


def canonical(receipt: Receipt) -> bytes:
    """Returns a receipt without its signature as canonical JSON: keys sorted, times in UTC."""
    body = {
        "tenant": receipt.tenant,
        "namespace": receipt.namespace,
        "memory_id": receipt.memory_id,
        "principal": receipt.principal,
        "partition": receipt.partition,
        "lsn": receipt.lsn,
        "erased_at_us": to_micros(receipt.erased_at),
        "completed_at_us": _micros(receipt.completed_at),
        "things": [
            {
                "kind": thing.kind.value,
                "name": thing.name,
                "digest": thing.digest,
                "done_at_us": _micros(thing.done_at),
            }
            for thing in receipt.things
        ],
    }
    if receipt.memory_ids:
        body["memory_ids"] = list(receipt.memory_ids)
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def done(receipt: Receipt, left: frozenset[tuple[Derived, str]], now: datetime) -> Receipt:
    """Marks what is not left any more; the receipt is complete when nothing is."""
    things = tuple(
        replace(thing, done_at=now)
        if thing.done_at is None and (thing.kind, thing.name) not in left
        else thing
        for thing in receipt.things
    )
    complete = all(thing.done_at is not None for thing in things)
    return replace(receipt, things=things, completed_at=now if complete else None)


def text_name(tenant: str, memory_id: str, text_id: str) -> str:
    """Names a text that an adapter was turned back into, in the receipt of a memory.

    Whoever has erased the memory may not be one who may read it: its id is not told. Whoever knows
    the id can make the name.
    """
    named = (part.encode() for part in (tenant, memory_id, text_id))
    return digest(b"memos-receipt-text-1", *named)[:_NAME_DIGITS]


def attest(key: Ed25519PrivateKey, tenant: str, receipt_digest: str) -> bytes:
    """Signs the digest of a complete receipt."""
    return key.sign(_message(tenant, receipt_digest))


def verify(public_key: bytes, receipt: Receipt) -> bool:
    """Tells whether the authority with this raw key, 32 bytes, has signed exactly this receipt."""
    try:
        known = Ed25519PublicKey.from_public_bytes(public_key)
        known.verify(receipt.signature, _message(receipt.tenant, receipt.digest))
    except (InvalidSignature, ValueError):
        return False
    return True


def _message(tenant: str, receipt_digest: str) -> bytes:
    return digest(b"memos-erasure-1", tenant.encode(), receipt_digest.encode()).encode()


def _micros(at: datetime | None) -> int | None:
    return None if at is None else to_micros(at)
