"""Another embedding model: what was stored under the old one is embedded anew, by itself."""

from __future__ import annotations

from pathlib import Path

from memos_ray.gateway.memories.models import NewMemory, SearchQuery
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import InProcess, in_process


async def _unembedded(memos: InProcess) -> int:
    query = SearchQuery(query="lighthouse", wait_indexed=True)
    found = await memos.service.search(memos.administrator, query)
    assert len(found.hits) == 3
    return found.unembedded


async def test_old_memories_are_embedded_by_the_new_model(tmp_path: Path) -> None:
    items = [NewMemory(text=f"lighthouse number {n}") for n in range(3)]
    async with in_process(tmp_path, embedder=HashingEmbedder(384)) as memos:
        await memos.service.add(memos.administrator, items)
        assert await _unembedded(memos) == 0
    async with in_process(tmp_path, embedder=HashingEmbedder(256)) as memos:
        assert await _unembedded(memos) == 0
