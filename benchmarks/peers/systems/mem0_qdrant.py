"""mem0 with Qdrant in local mode; `infer=False` stores texts as they are, without an LLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mem0 import Memory
from mem0.embeddings.base import EmbeddingBase
from mem0.utils.factory import EmbedderFactory

from benchmarks.peers.measuring import Item
from benchmarks.peers.vectors import VectorTable

PACKAGES = ("mem0ai", "qdrant-client")
SETTINGS = (
    "Qdrant in local mode, in a folder; infer=False; one user_id for each conversation. Without the"
    " optional extras fastembed and spaCy, which fetch models at run time: dense search"
)


class TableEmbedding(EmbeddingBase):
    """Looks vectors up."""

    table: VectorTable

    def embed(self, text: str, memory_action: Any = None) -> list[float]:
        """Returns the vector of a text."""
        found: list[float] = self.table.look_up([text])[0].tolist()
        return found


class Mem0:
    """Implements `System`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def add(self, space: str, items: Sequence[Item]) -> None:
        """Stores memories, one call each: an id goes with a call, not with a message."""
        for item in items:
            self._memory.add(item.said, user_id=space, metadata={"item": item.id}, infer=False)

    def finish(self) -> None:
        """Everything can be found at once."""

    def rest(self) -> None:
        """Nothing goes on in the background."""

    def search(self, space: str, text: str, k: int) -> list[str]:
        """Returns ids."""
        found = self._memory.search(text, filters={"user_id": space}, top_k=k)
        return [hit["metadata"]["item"] for hit in found["results"]]

    def close(self) -> None:
        """Closes the stores."""
        self._memory.close()


def open_system(folder: Path, table: VectorTable) -> Mem0:
    """Opens mem0 on an empty folder."""
    TableEmbedding.table = table
    # The factory takes class names; a name of its own is put in place of one that is not used.
    EmbedderFactory.provider_to_class["huggingface"] = f"{__name__}.{TableEmbedding.__name__}"
    store = {
        "collection_name": "memories",
        "path": str(folder / "qdrant"),
        "embedding_model_dims": table.dim,
    }
    return Mem0(
        Memory.from_config(
            {
                "embedder": {"provider": "huggingface", "config": {"embedding_dims": table.dim}},
                "vector_store": {"provider": "qdrant", "config": store},
                "llm": {"provider": "openai", "config": {"api_key": "unused"}},
                "history_db_path": str(folder / "history.db"),
            }
        )
    )
