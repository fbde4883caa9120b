"""Findings: what a source would supersede, and the write that does it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import orjson

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import SourceRef
from memos_ray.core.organising import Proposed, moment_of
from memos_ray.core.sources.comparing import Kind, Verdict
from memos_ray.core.sources.source import Source
from memos_ray.core.vault.operations import Update, UpdateMode, Write
from memos_ray.errors import StoreCorruptError

_ID_DIGITS = 24
_REF = "source:"


@crossing
@dataclass(frozen=True, slots=True)
class Finding:
    """Something held that a source supersedes. It says which memories, never what they say.

    Attributes:
        source: id of the source that supersedes.
        held: id of the memory that would cease to hold.
        replacing: id of the section that says otherwise; empty for what is withdrawn.
        outranked: whether a source of a higher rank has said what is held.
    """

    id: str
    tenant: str
    namespace: str
    source: str
    held: str
    replacing: str
    kind: Kind
    confidence: float
    outranked: bool
    found_at: datetime
    state: Proposed = Proposed.OPEN
    decided_by: str | None = None
    decided_at: datetime | None = None

    def to_bytes(self) -> bytes:
        """Encodes what no column holds."""
        return orjson.dumps(
            {
                "source": self.source,
                "held": self.held,
                "replacing": self.replacing,
                "kind": self.kind,
                "confidence": self.confidence,
                "outranked": self.outranked,
                "found_at": self.found_at,
                "state": self.state,
                "decided_by": self.decided_by,
                "decided_at": self.decided_at,
            }
        )

    @classmethod
    def from_bytes(cls, id: str, tenant: str, namespace: str, body: bytes) -> Finding:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none of a finding.
        """
        try:
            held = orjson.loads(body)
            decided = held["decided_at"]
            return cls(
                id,
                tenant,
                namespace,
                held["source"],
                held["held"],
                held["replacing"],
                Kind(held["kind"]),
                held["confidence"],
                held["outranked"],
                datetime.fromisoformat(held["found_at"]),
                Proposed(held["state"]),
                held["decided_by"],
                None if decided is None else datetime.fromisoformat(decided),
            )
        except (ValueError, KeyError, TypeError):
            raise StoreCorruptError("a finding cannot be read", finding=id) from None


@crossing
@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding, for somebody who may read both texts, or an outcome of deciding about it.

    Attributes:
        replacing: nothing for what is withdrawn.
    """

    finding: Finding
    source: Source
    held: MemCube
    replacing: MemCube | None
    reasons: tuple[str, ...]


def find(
    source: Source,
    held: MemCube,
    replacing: MemCube | None,
    verdict: Verdict,
    now: datetime,
    *,
    outranked: bool,
) -> Finding:
    """Makes a finding of a verdict, named by what it is about so that it is made once."""
    section = "" if replacing is None else replacing.id
    parts = (source.id.encode(), held.id.encode(), section.encode())
    return Finding(
        digest(b"memos-finding-1", *parts)[:_ID_DIGITS],
        source.tenant,
        source.namespace,
        source.id,
        held.id,
        section,
        verdict.kind,
        verdict.confidence,
        outranked,
        now,
    )


def write_of(
    source: Source, held: MemCube, replacing: MemCube | None, verdict: Kind, now: datetime
) -> Write:
    """The write that accepts a finding: what is held ceases to hold. Nothing is deleted.

    It does so when the source begins to hold; what was said later than that, at once.
    """
    begins = source.valid_from
    at = begins if begins > moment_of(held) else max(now, moment_of(held))
    section = None if replacing is None else replacing.id
    number = None if replacing is None else replacing.version.number
    ref = SourceRef(item=f"{_REF}{source.id}", cube_id=section, version=number)
    update = Update(
        held.id,
        UpdateMode.MERGE,
        valid_to=at,
        sources=(ref,),
        expected=held.version.number,
    )
    return Write(held.namespace, update, reason=f"{verdict.value} by {source.title}")


def closed_by(held: MemCube, source_id: str) -> bool:
    """Tells whether a source has ended what is held: an acceptance that was cut off is over."""
    about = held.descriptive
    named = any(one.item == f"{_REF}{source_id}" for one in about.sources)
    return named and about.valid_to is not None
