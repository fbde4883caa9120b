"""What it takes to sort memories into concepts, and to show a reader the topics."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from benchmarks.metrics import percentile
from benchmarks.synthetic import turns
from memos_ray.core.organising.concepts import Concepts
from memos_ray.core.organising.labels import Labeller
from memos_ray.core.organising.topics import look, topics
from memos_ray.core.retrieval import IndexedMemory, ResidentIndex, VectorSet

_DIM, _THEMES, _BATCH, _PIECE = 384, 400, 512, 128
_SPREAD = 0.9


def measure(sizes: Sequence[int]) -> list[dict[str, object]]:
    """Sorts namespaces of made-up texts, whose vectors lie around some hundred themes."""
    return [_measure(size) for size in sizes]


def _measure(size: int) -> dict[str, object]:
    index = _filled(size)
    store, concepts = index.store, Concepts(_DIM)
    pieces, waiting = [], True
    while waiting:
        started = time.process_time()
        waiting = bool(concepts.tend(store, _PIECE).waiting)
        pieces.append(time.process_time() - started)
    started = time.process_time()
    concepts.tend(store, _PIECE)
    idle_s = time.process_time() - started
    started = time.process_time()
    seen = look(concepts, store, store.frame.live[: store.frame.high])
    looked_s = time.process_time() - started
    started = time.process_time()
    view = topics(seen, Labeller())
    labelled_s = time.process_time() - started
    return {
        "memories": size,
        "concepts": len(concepts),
        "topics": len(view.topics),
        "sorted_s": round(sum(pieces), 2),
        "piece_p50_ms": round(percentile(pieces, 0.5) * 1e3, 2),
        "piece_p95_ms": round(percentile(pieces, 0.95) * 1e3, 2),
        "nothing_to_do_ms": round(idle_s * 1e3, 2),
        "looked_ms": round(looked_s * 1e3, 1),
        "labelled_ms": round(labelled_s * 1e3, 1),
        "bytes_per_memory": round(concepts.memory_bytes() / size),
    }


def _filled(size: int) -> ResidentIndex:
    random = np.random.default_rng(1)
    themes = random.normal(size=(_THEMES, _DIM)).astype(np.float32)
    themes /= np.linalg.norm(themes, axis=1)[:, None]
    said, index = turns(size), ResidentIndex(_DIM)
    for start in range(0, size, _BATCH):
        made = [
            IndexedMemory(f"m{number:07d}", said[number].text, {"created_at": number})
            for number in range(start, min(size, start + _BATCH))
        ]
        index.upsert(made)
        plans = index.stale_views(_BATCH)
        for plan in plans:
            noise = random.normal(size=_DIM).astype(np.float32) * (_SPREAD / _DIM**0.5)
            vector = themes[random.integers(_THEMES)] + noise
            rows = np.repeat(vector[None, :], len(plan.views), axis=0)
            index.attach_vectors(plan.id, VectorSet.quantise(plan.views, rows))
    return index
