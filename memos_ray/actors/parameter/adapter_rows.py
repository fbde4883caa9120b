"""Adapters at rest, as rows of the record store."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from memos_ray.actors.vault.residency import Place
from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import TeachingState
from memos_ray.ports import Derivation

KIND = "adapter"


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter at rest: a row of the record store, a file in the blob store.

    Attributes:
        id: of the parameter memory.
        state: live or rejected; whether it is stale or retired follows from its sources.
    """

    id: str
    place: Place
    model: str
    digest: str
    base: str
    rank: int
    alpha: float
    blob: str
    size_bytes: int
    state: TeachingState
    sources: tuple[SourceVersion, ...]
    report: str
    figures: dict[str, float]


def row_of(adapter: Adapter) -> Derivation:
    """Returns the row of an adapter."""
    body = orjson.dumps(
        {
            "model": adapter.model,
            "digest": adapter.digest,
            "base": adapter.base,
            "rank": adapter.rank,
            "alpha": adapter.alpha,
            "state": adapter.state.value,
            "sources": [[source.cube_id, source.version] for source in adapter.sources],
            "report": adapter.report,
            "figures": adapter.figures,
        }
    )
    place = adapter.place
    return Derivation(
        place.tenant, KIND, adapter.id, place.namespace, adapter.blob, adapter.size_bytes, body
    )


def adapter_of(partition: int, row: Derivation) -> Adapter:
    """Rebuilds an adapter from its row."""
    body = orjson.loads(row.body)
    return Adapter(
        id=row.name,
        place=Place(partition, row.tenant, row.namespace),
        model=body["model"],
        digest=body["digest"],
        base=body["base"],
        rank=body["rank"],
        alpha=body["alpha"],
        blob=row.blob,
        size_bytes=row.size_bytes,
        state=TeachingState(body["state"]),
        sources=tuple(SourceVersion(name, number) for name, number in body["sources"]),
        report=body["report"],
        figures=body["figures"],
    )
