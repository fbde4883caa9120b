"""memos-ray: the embedded cluster through the SDK, every add durable before it returns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.peers.measuring import Item
from benchmarks.peers.vectors import Vectors, VectorTable
from memos_ray import MemOS
from memos_ray.config import EmbedderKind, EmbedderSettings, Settings
from memos_ray.core.retrieval.space import EmbeddingSpace

PACKAGES = ("memos-ray", "ray", "pymilvus", "milvus-lite")
SETTINGS = (
    "embedded cluster with its defaults: SQLite (WAL, synchronous=FULL), Milvus Lite beside it;"
    " one namespace for each conversation; every memory has two vectors"
)
TABLE = "MEMOS_BENCH_TABLE"
"""Names the folder of the vector table to the actors of the cluster."""
_SETTLE_S = 900.0


class TableEmbedder:
    """Looks vectors up. Implements `memos_ray.ports.EmbedderPort`."""

    def __init__(self, table: VectorTable) -> None:
        self._table = table
        self._space = EmbeddingSpace("table", table.dim, table.digest)

    @property
    def space(self) -> EmbeddingSpace:
        """The space of the table's vectors."""
        return self._space

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Returns the vectors of texts."""
        return self._table.look_up(texts)

    def legible(self, text: str) -> float:
        """Returns how much of a text the table's embedder can read."""
        return self._table.legible(text)


def table_embedder() -> TableEmbedder:
    """Opens the table that the environment names; the embedder factory of the cluster."""
    return TableEmbedder(VectorTable(Path(os.environ[TABLE])))


class MemosRay:
    """Implements `System`."""

    def __init__(self, memos: MemOS) -> None:
        self._memos = memos
        self._places: dict[str, str] = {}

    def add(self, space: str, items: Sequence[Item]) -> None:
        """Stores memories in one call, durably."""
        report = self._memos.add([item.fields for item in items], namespace=self._place(space))
        if report.failed:
            raise RuntimeError("a memory was refused")

    def finish(self) -> None:
        """Waits until every memory has its vectors."""
        for place in self._places.values():
            _until(partial(self._embedded, place))

    def rest(self) -> None:
        """Waits until Milvus has everything, too."""
        _until(self._indexed)

    def search(self, space: str, text: str, k: int) -> list[str]:
        """Returns ids."""
        found = self._memos.search(text, namespace=self._place(space), limit=k)
        return [hit.memory.sources[0].item or "" for hit in found.hits]

    def close(self) -> None:
        """Ends the cluster."""
        self._memos.close()

    def _embedded(self, place: str) -> bool:
        return not self._memos.search("", namespace=place, limit=1).unembedded

    def _indexed(self) -> bool:
        parts = self._memos.health().components
        return not any(part.detail.get("index_lag", 0) for part in parts)

    def _place(self, space: str) -> str:
        if space not in self._places:
            self._places[space] = f"user:admin/{space}"
            self._memos.admin.create_namespace(self._places[space], kind="user_private")
        return self._places[space]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SETTLE_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster does not come to rest")
        time.sleep(0.1)


def open_system(folder: Path, table: VectorTable) -> MemosRay:
    """Starts a cluster on an empty folder.

    Args:
        table: the same that the environment names.
    """
    chosen = EmbedderSettings(
        kind=EmbedderKind.CUSTOM, factory=f"{__name__}:{table_embedder.__name__}", dim=table.dim
    )
    return MemosRay(MemOS(data=folder / "memos", settings=Settings(embedder=chosen)))
