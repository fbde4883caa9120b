"""MemoryOS 2.x: `general_text` memories with Qdrant in local mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from memos.configs.embedder import BaseEmbedderConfig, EmbedderConfigFactory
from memos.configs.memory import MemoryConfigFactory
from memos.embedders.base import BaseEmbedder
from memos.embedders.factory import EmbedderFactory
from memos.memories.factory import MemoryFactory

from benchmarks.peers.measuring import Item
from benchmarks.peers.vectors import VectorTable

PACKAGES = ("MemoryOS", "qdrant-client")
SETTINGS = "general_text, Qdrant in local mode, in a folder; one memory for each conversation"


class TableEmbedder(BaseEmbedder):
    """Looks vectors up."""

    table: VectorTable

    def __init__(self, config: BaseEmbedderConfig) -> None:
        self.config = config

    def embed(self, texts: list[str]) -> list[list[float]]:
        """Returns the vectors of texts."""
        found: list[list[float]] = self.table.look_up(texts).tolist()
        return found


class MemoryOS:
    """Implements `System`."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._folder = folder
        self._dim = dim
        self._memories: dict[str, Any] = {}
        self._ids: dict[str, str] = {}

    def add(self, space: str, items: Sequence[Item]) -> None:
        """Stores memories in one call."""
        memories = []
        for item in items:
            key = str(uuid5(NAMESPACE_OID, f"{space}/{item.id}"))
            self._ids[key] = item.id
            memories.append(
                {"id": key, "memory": item.said, "metadata": {"source": "conversation"}}
            )
        self._memory(space).add(memories)

    def finish(self) -> None:
        """Everything can be found at once."""

    def rest(self) -> None:
        """Nothing goes on in the background."""

    def search(self, space: str, text: str, k: int) -> list[str]:
        """Returns ids."""
        return [self._ids[found.id] for found in self._memory(space).search(text, k)]

    def close(self) -> None:
        """Closes the stores."""
        for memory in self._memories.values():
            memory.vector_db.client.close()

    def _memory(self, space: str) -> Any:
        if space not in self._memories:
            self._memories[space] = MemoryFactory.from_config(self._config(space))
        return self._memories[space]

    def _config(self, space: str) -> MemoryConfigFactory:
        store = {
            "collection_name": "memories",
            "vector_dimension": self._dim,
            "distance_metric": "cosine",
            "path": str(self._folder / space),
        }
        model = {"model_name_or_path": "unused", "api_key": "unused"}
        table = {"model_name_or_path": "table", "embedding_dims": self._dim}
        return MemoryConfigFactory(
            backend="general_text",
            config={
                "extractor_llm": {"backend": "openai", "config": model},
                "vector_db": {"backend": "qdrant", "config": store},
                "embedder": {"backend": "table", "config": table},
            },
        )


def open_system(folder: Path, table: VectorTable) -> MemoryOS:
    """Opens MemoryOS on an empty folder."""
    TableEmbedder.table = table
    EmbedderConfigFactory.backend_to_class["table"] = BaseEmbedderConfig
    EmbedderFactory.backend_to_class["table"] = TableEmbedder
    return MemoryOS(folder, table.dim)
