"""Proposals: what might be done about two memories, and the writes that do it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import SourceRef
from memos_ray.core.organising.judging import Judgement, Kind, in_order, moment_of
from memos_ray.core.vault.operations import Update, UpdateMode, Write
from memos_ray.errors import StoreCorruptError

_ID_DIGITS = 24


class Proposed(StrEnum):
    """Where a proposal stands; what was accepted or refused is not proposed again."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REFUSED = "refused"


@crossing
@dataclass(frozen=True, slots=True)
class Proposal:
    """Two memories of one namespace of which one makes the other superfluous.

    Attributes:
        older: id of the one that is closed by a supersession, and kept by a merge.
        newer: the other.
        found_at: when they were compared.
    """

    id: str
    tenant: str
    namespace: str
    kind: Kind
    older: str
    newer: str
    confidence: float
    found_at: datetime
    state: Proposed = Proposed.OPEN

    def to_bytes(self) -> bytes:
        """Encodes what no column holds; no content of a memory."""
        return orjson.dumps(
            {
                "kind": self.kind,
                "older": self.older,
                "newer": self.newer,
                "confidence": self.confidence,
                "found_at": self.found_at,
                "state": self.state,
            }
        )

    @classmethod
    def from_bytes(cls, id: str, tenant: str, namespace: str, body: bytes) -> Proposal:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none of a proposal.
        """
        try:
            held = orjson.loads(body)
            return cls(
                id,
                tenant,
                namespace,
                Kind(held["kind"]),
                held["older"],
                held["newer"],
                held["confidence"],
                datetime.fromisoformat(held["found_at"]),
                Proposed(held["state"]),
            )
        except (ValueError, KeyError, TypeError):
            raise StoreCorruptError("a proposal cannot be read", proposal=id) from None


def proposal_id(kind: Kind, older: str, newer: str) -> str:
    """Names a proposal by what it is about, so that it is made once."""
    parts = (kind.value.encode(), older.encode(), newer.encode())
    return digest(b"memos-proposal-1", *parts)[:_ID_DIGITS]


def propose(one: MemCube, other: MemCube, judgement: Judgement, now: datetime) -> Proposal:
    """Makes a proposal of a judgement."""
    older, newer = in_order(one, other)
    return Proposal(
        proposal_id(judgement.kind, older.id, newer.id),
        older.tenant,
        older.namespace,
        judgement.kind,
        older.id,
        newer.id,
        judgement.confidence,
        now,
    )


def writes_of(kind: Kind, older: MemCube, newer: MemCube, now: datetime) -> list[Write]:
    """The writes that accept a proposal, all to be made or none.

    A supersession ends the older memory's validity where the newer one's begins, and names the
    newer one among its sources. A merge gives the older memory a version with both as its parents,
    and ends the newer one. Nothing is deleted, and no text changes.
    """
    if kind is Kind.SUPERSESSION:
        return [_close(older, newer, moment_of(newer), f"superseded by {newer.id}")]
    kept = Update(
        older.id,
        UpdateMode.MERGE,
        tags=newer.descriptive.tags,
        merged_from=((newer.id, newer.version.number),),
        expected=older.version.number,
    )
    return [
        Write(older.namespace, kept, reason=f"merged with {newer.id}"),
        _close(newer, older, now, f"merged into {older.id}"),
    ]


def _close(closed: MemCube, standing: MemCube, at: datetime, reason: str) -> Write:
    source = SourceRef(cube_id=standing.id, version=standing.version.number)
    update = Update(
        closed.id,
        UpdateMode.MERGE,
        valid_to=at,
        sources=(source,),
        expected=closed.version.number,
    )
    return Write(closed.namespace, update, reason=reason)
