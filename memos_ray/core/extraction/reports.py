"""How extraction stands in a namespace: counts, and no content of memories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.errors import StoreCorruptError

_SOURCES_MOST = 64
_COUNTED_MOST = 64


@crossing
@dataclass(frozen=True, slots=True)
class SourceProgress:
    """How far one conversation or document of one owner has come.

    Attributes:
        queued, running, parked: memories that are still to be read, by the state of their jobs.
        read: memories that were.
        memories: how many were made of them.
        refused: how much of the answers was not taken.
        witness: id of one of them, by which it is known that there is such a source still.
    """

    source: str
    owner: str
    queued: int = 0
    running: int = 0
    parked: int = 0
    read: int = 0
    memories: int = 0
    refused: int = 0
    tokens: int = 0
    done_at: datetime | None = None
    witness: str = ""


@crossing
@dataclass(frozen=True, slots=True)
class JobReport:
    """A job that is not done, and why; or something extracted that cannot follow its sources.

    Attributes:
        id: of the job, or of the memory that is set aside.
        state: `queued`, `running` or `parked`; `aside` of a memory that was extracted.
        reason: why it waits or is parked; empty when it is only its turn that it waits for.
        not_before: when it is tried again.
    """

    id: str
    state: str
    source: str
    owner: str
    ids: tuple[str, ...]
    attempts: int
    reason: str
    not_before: datetime | None


@crossing
@dataclass(frozen=True, slots=True)
class ExtractionReport:
    """How extraction stands in a namespace.

    Attributes:
        model: who reads; empty where there is no model.
        automatic: whether all that is stored is read, marked or not.
        lag: log entries that have not been looked at.
        refused: what was not taken, by reason.
        jobs: those that are not done and that the caller may know of, the oldest first.
    """

    model: str
    automatic: bool
    lag: int
    queued: int
    running: int
    parked: int
    done: int
    read: int
    memories: int
    tokens: int
    refused: Mapping[str, int]
    sources: tuple[SourceProgress, ...]
    jobs: tuple[JobReport, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What one job led to.

    Attributes:
        witness: see `SourceProgress`.
    """

    job: str
    source: str
    owner: str
    read: int
    memories: int
    tokens: int
    refused: Mapping[str, int]
    at: datetime
    witness: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What was done in a namespace, ever; and for its last sources one by one.

    Attributes:
        counted: jobs that are in here already, the last ones.
    """

    done: int = 0
    read: int = 0
    memories: int = 0
    tokens: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    sources: tuple[SourceProgress, ...] = ()
    counted: tuple[str, ...] = ()

    def plus(self, more: Done) -> Totals:
        """Adds what a job led to; once, however often it is told."""
        if more.job in self.counted:
            return self
        refused = dict(self.refused)
        for reason, count in more.refused.items():
            refused[reason] = refused.get(reason, 0) + count
        same = [one for one in self.sources if (one.source, one.owner) == (more.source, more.owner)]
        others = [one for one in self.sources if one not in same]
        held = same[0] if same else SourceProgress(more.source, more.owner)
        held = replace(
            held,
            read=held.read + more.read,
            memories=held.memories + more.memories,
            refused=held.refused + sum(more.refused.values()),
            tokens=held.tokens + more.tokens,
            done_at=more.at,
            witness=more.witness if more.read else held.witness,
        )
        # Of a source of which nothing was left to read, not even the name is kept.
        kept = (*others, held) if same or more.read else others
        return Totals(
            self.done + 1,
            self.read + more.read,
            self.memories + more.memories,
            self.tokens + more.tokens,
            refused,
            tuple(kept)[-_SOURCES_MOST:],
            (*self.counted, more.job)[-_COUNTED_MOST:],
        )

    def witnessed(self, found: Mapping[tuple[str, str], tuple[str, str]]) -> Totals:
        """Returns the counts without the names of sources that have no witness any more.

        Args:
            found: by source and owner, the witness that there was and the one that there is. Of a
                source that has got another one since, neither holds.
        """
        kept = []
        for one in self.sources:
            told = found.get((one.source, one.owner))
            if told is None or told[0] != one.witness:
                kept.append(one)
            elif told[1]:
                kept.append(replace(one, witness=told[1]))
        return replace(self, sources=tuple(kept))

    def to_bytes(self) -> bytes:
        """Encodes it."""
        sources = [_flat(one) for one in self.sources]
        numbers = [self.done, self.read, self.memories, self.tokens]
        return orjson.dumps([numbers, self.refused, sources, self.counted])

    @classmethod
    def from_bytes(cls, body: bytes) -> Totals:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none.
        """
        try:
            numbers, refused, sources, counted = orjson.loads(body)
            done, read, memories, tokens = numbers
            found = tuple(map(_source, sources))
            return cls(done, read, memories, tokens, refused, found, tuple(counted))
        except (ValueError, TypeError):
            raise StoreCorruptError("the counts of extraction cannot be read") from None


def _flat(one: SourceProgress) -> list[str | int | None]:
    at = None if one.done_at is None else to_micros(one.done_at)
    counts = (one.read, one.memories, one.refused, one.tokens)
    return [one.source, one.owner, *counts, at, one.witness]


def _source(held: list[str | int | None]) -> SourceProgress:
    source, owner, read, memories, refused, tokens, at, *witness = held
    done_at = None if at is None else from_micros(int(at))
    return SourceProgress(
        str(source),
        str(owner),
        read=int(read or 0),
        memories=int(memories or 0),
        refused=int(refused or 0),
        tokens=int(tokens or 0),
        done_at=done_at,
        # Earlier rows have none.
        witness=str(witness[0]) if witness else "",
    )
