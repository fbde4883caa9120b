"""LangGraph's SqliteStore with its vector index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Many builds of Python cannot load SQLite extensions, which the vector index is.
import pysqlite3
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp
from langgraph.store.sqlite import SqliteStore

from benchmarks.peers.measuring import Item
from benchmarks.peers.vectors import VectorTable

PACKAGES = ("langgraph-checkpoint-sqlite", "sqlite-vec", "pysqlite3-binary")
SETTINGS = "SqliteStore on disk, its defaults; one namespace for each conversation; dense search"


class TableEmbeddings(Embeddings):
    """Looks vectors up."""

    def __init__(self, table: VectorTable) -> None:
        self._table = table

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Returns the vectors of texts."""
        found: list[list[float]] = self._table.look_up(texts).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        """Returns the vector of a query."""
        return self.embed_documents([text])[0]


class LangGraph:
    """Implements `System`."""

    def __init__(self, path: Path, table: VectorTable) -> None:
        # As `SqliteStore.from_conn_string` connects.
        self._connection = pysqlite3.connect(
            str(path), check_same_thread=False, isolation_level=None
        )
        self._store = SqliteStore(
            self._connection,
            index={"dims": table.dim, "embed": TableEmbeddings(table)},
        )
        self._store.setup()

    def add(self, space: str, items: Sequence[Item]) -> None:
        """Stores memories in one transaction."""
        place = ("memories", space)
        self._store.batch([PutOp(place, i.id, {"text": i.said}, index=["text"]) for i in items])

    def finish(self) -> None:
        """Everything can be found at once."""

    def rest(self) -> None:
        """Nothing goes on in the background."""

    def search(self, space: str, text: str, k: int) -> list[str]:
        """Returns ids."""
        return [hit.key for hit in self._store.search(("memories", space), query=text, limit=k)]

    def close(self) -> None:
        """Closes the store."""
        self._connection.close()


def open_system(folder: Path, table: VectorTable) -> LangGraph:
    """Opens a store in an empty folder."""
    return LangGraph(folder / "store.db", table)
