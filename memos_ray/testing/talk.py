"""Small conversations in a resident index, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from memos_ray.core.cube.facets import FacetValue
from memos_ray.core.cube.metadata import TimeSpan
from memos_ray.core.retrieval import (
    IndexedMemory,
    Nameless,
    QueryHints,
    ResidentIndex,
    RetrievalQuery,
    RetrievalSettings,
    VectorSet,
    without_each,
)
from memos_ray.ports import EmbedderPort


def said(
    id: str,
    text: str,
    *,
    position: int | None = None,
    session: str | None = "morning",
    language: str | None = None,
    mentions: Sequence[TimeSpan] = (),
    **facets: FacetValue,
) -> IndexedMemory:
    """One memory; with a position it is a turn of a conversation."""
    values: dict[str, FacetValue] = {"owner": "user:ann", "visibility": "private", **facets}
    if position is not None:
        values |= {"conversation": "talk", "position": position}
        if session is not None:
            values["session"] = session
    return IndexedMemory(id, text, values, tuple(mentions), language)


def turns(*lines: tuple[str, str]) -> list[IndexedMemory]:
    """One session: speaker and text of each turn; the ids are `t0`, `t1`, ..."""
    return [
        said(f"t{place}", text, position=place, speaker=speaker)
        for place, (speaker, text) in enumerate(lines)
    ]


def embed_all(index: ResidentIndex, embedder: EmbedderPort) -> None:
    """Computes and attaches every vector that the index lacks."""
    while plans := index.stale_views():
        for plan in plans:
            vectors = embedder.embed([view.text for view in plan.views])
            index.attach_vectors(plan.id, VectorSet.quantise(plan.views, vectors))


def indexed(
    memories: Iterable[IndexedMemory],
    embedder: EmbedderPort | None = None,
    settings: RetrievalSettings | None = None,
) -> ResidentIndex:
    """An index of these memories, embedded when an embedder is given."""
    dim = embedder.space.dim if embedder is not None else 8
    index = ResidentIndex(dim, settings)
    index.upsert(list(memories))
    if embedder is not None:
        embed_all(index, embedder)
    return index


def asked(
    text: str,
    embedder: EmbedderPort | None = None,
    *,
    names: Sequence[str] = (),
    hints: QueryHints | None = None,
    k: int = 10,
    legible: float = 1.0,
) -> RetrievalQuery:
    """A query as a gateway makes it: embedded, and again without each of `names`."""
    if embedder is None:
        return RetrievalQuery(text, hints=hints or QueryHints(), k=k)
    stripped = without_each(text, names)
    vectors = np.asarray(embedder.embed([text, *stripped.values()]))
    return RetrievalQuery(
        text,
        vectors[0],
        hints=hints or QueryHints(),
        k=k,
        nameless=tuple(map(Nameless, stripped, vectors[1:])),
        legible=legible,
    )
