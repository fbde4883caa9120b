"""Trusted sources: editions of documents whose issuer is believed more than what is held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.identity import digest
from memos_ray.errors import StoreCorruptError

_ID_DIGITS = 24
SECTIONS_MAX = 2000
"""Most sections of one source."""


class Stage(StrEnum):
    """How far a source has come."""

    READING = "reading"
    COMPARING = "comparing"
    READY = "ready"


@crossing
@dataclass(frozen=True, slots=True)
class Source:
    """One edition of a document.

    Attributes:
        name: what all editions of the document are called.
        trust: rank, 1 to 100; what a source of a higher rank says is not overruled unasked.
        valid_from: from when it holds.
        digest: of its text, so that one edition has one text.
        sections: ids of the memories that it was stored as, in order.
        compared: how many of them have been compared with what is held.
    """

    id: str
    tenant: str
    namespace: str
    name: str
    issuer: str
    trust: int
    valid_from: datetime
    digest: str
    added_by: str
    added_at: datetime
    sections: tuple[str, ...] = ()
    compared: int = 0

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        if not self.sections:
            return Stage.READING
        return Stage.READY if self.compared >= len(self.sections) else Stage.COMPARING

    @property
    def title(self) -> str:
        """Names the edition, for people."""
        return f"{self.name} ({self.issuer}, {self.valid_from.date().isoformat()})"

    def to_bytes(self) -> bytes:
        """Encodes what no column holds; no content of a section."""
        return orjson.dumps(
            {
                "name": self.name,
                "issuer": self.issuer,
                "trust": self.trust,
                "valid_from": self.valid_from,
                "digest": self.digest,
                "added_by": self.added_by,
                "added_at": self.added_at,
                "sections": self.sections,
                "compared": self.compared,
            }
        )

    @classmethod
    def from_bytes(cls, id: str, tenant: str, namespace: str, body: bytes) -> Source:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none of a source.
        """
        try:
            held = orjson.loads(body)
            return cls(
                id,
                tenant,
                namespace,
                held["name"],
                held["issuer"],
                held["trust"],
                datetime.fromisoformat(held["valid_from"]),
                held["digest"],
                held["added_by"],
                datetime.fromisoformat(held["added_at"]),
                tuple(held["sections"]),
                held["compared"],
            )
        except (ValueError, KeyError, TypeError):
            raise StoreCorruptError("a source cannot be read", source=id) from None


def source_id(namespace: str, name: str, issuer: str, valid_from: datetime) -> str:
    """Names an edition by what it is, so that it is added once."""
    parts = (namespace, name, issuer, valid_from.isoformat())
    return digest(b"memos-source-1", *(part.encode() for part in parts))[:_ID_DIGITS]


def uri_of(id: str) -> str:
    """Says of a section which source it is stored for."""
    return f"source:{id}"


def neighbours(source: Source, known: Iterable[Source]) -> tuple[Source | None, Source | None]:
    """Returns the edition before a source and the one after it, of those that are stored."""
    editions = [
        one
        for one in known
        if (one.namespace, one.name, one.issuer) == (source.namespace, source.name, source.issuer)
        and one.id != source.id
        and one.sections
    ]
    earlier = [one for one in editions if one.valid_from < source.valid_from]
    later = [one for one in editions if one.valid_from > source.valid_from]
    before = max(earlier, key=lambda one: one.valid_from, default=None)
    return before, min(later, key=lambda one: one.valid_from, default=None)
