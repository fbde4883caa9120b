"""LanceDB: full text and vectors, fused by its default, reciprocal ranks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
from lancedb.index import FTS
from lancedb.rerankers import RRFReranker

from benchmarks.peers.measuring import Item
from benchmarks.peers.vectors import VectorTable

PACKAGES = ("lancedb",)
SETTINGS = (
    "one table for each conversation; hybrid search: full text (its defaults for English) and exact"
    " vector search, fused by reciprocal ranks"
)


class LanceDB:
    """Implements `System`."""

    def __init__(self, folder: Path, table: VectorTable) -> None:
        self._table = table
        self._database = lancedb.connect(str(folder))
        self._tables: dict[str, Any] = {}
        self._indexed: set[str] = set()
        self._schema = pa.schema(
            [
                ("id", pa.string()),
                ("text", pa.string()),
                ("vector", pa.list_(pa.float32(), table.dim)),
            ]
        )

    def add(self, space: str, items: Sequence[Item]) -> None:
        """Stores memories in one call."""
        if space not in self._tables:
            self._tables[space] = self._database.create_table(space, schema=self._schema)
        texts = [item.said for item in items]
        vectors = self._table.look_up(texts)
        self._tables[space].add(
            [
                {"id": item.id, "text": text, "vector": vector}
                for item, text, vector in zip(items, texts, vectors, strict=True)
            ]
        )

    def finish(self) -> None:
        """Brings the full-text indexes up to date."""
        for space, table in self._tables.items():
            if space in self._indexed:
                table.optimize()
            else:
                table.create_index("text", config=FTS())
                self._indexed.add(space)

    def rest(self) -> None:
        """Nothing goes on in the background."""

    def search(self, space: str, text: str, k: int) -> list[str]:
        """Returns ids."""
        found = (
            self._tables[space]
            .search(query_type="hybrid")
            .vector(self._table.look_up([text])[0])
            .text(text)
            .rerank(RRFReranker())
            .limit(k)
            .to_list()
        )
        return [hit["id"] for hit in found]

    def close(self) -> None:
        """There is nothing to close."""


def open_system(folder: Path, table: VectorTable) -> LanceDB:
    """Opens a database in an empty folder."""
    return LanceDB(folder, table)
