"""A text that the embedder refuses keeps no other memory from being embedded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memos_ray.config import VaultSettings
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.memories.models import MemoryChange, NewMemory, SearchQuery
from memos_ray.ports import Vectors
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.in_process import in_process
from memos_ray.testing.waiting import eventually


class Refusing(HashingEmbedder):
    """Refuses one word, with whatever else it stands in a request, as endpoints do."""

    word = "walrus"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """See `EmbedderPort`."""
        if any(self.word in text for text in texts):
            raise InvalidInputError("the embedding endpoint refuses these texts", status=400)
        return super().embed(texts)


async def test_a_refused_text_holds_up_no_other(tmp_path: Path) -> None:
    settings = VaultSettings(partitions=1)
    model = Refusing()
    async with in_process(tmp_path, embedder=model, settings=settings) as memos:
        texts = [f"the heron of {n}" for n in range(70)]
        texts[3] = texts[65] = "the walrus of Lisbon"
        new = [NewMemory(text=text) for text in texts]
        report = await memos.service.add(memos.administrator, new)
        query = SearchQuery(query="heron", wait_indexed=True, limit=100)
        found = await memos.service.search(memos.administrator, query)
        assert (found.unembedded, len(found.hits)) == (2, 70)
        status = await memos.crew.shard("shard-0").status()
        assert status.counters["embed_refused"] == 2 and status.counters["embedded"] >= 68
        # By its words it is found, and once it says something else it is embedded.
        words = SearchQuery(query="walrus Lisbon", wait_indexed=True)
        model.word = "never"
        best = (await memos.service.search(memos.administrator, words)).hits[0]
        assert best.memory.text == "the walrus of Lisbon"
        model.word = "walrus"
        id = report.results[3].id or ""
        change = MemoryChange(text="a seal of Lisbon")
        await memos.service.update(memos.administrator, id, change)
        found = await memos.service.search(memos.administrator, query)
        assert found.unembedded == 1
        await eventually(lambda: not memos.store.derivations(0, "feed_aside"))


async def test_OPER_1_tags_are_predicted_of_texts_without_vectors(tmp_path: Path) -> None:
    settings = VaultSettings(partitions=1)
    said = {
        "glad": "A wonderful walrus.",
        "sad": "A terrible walrus.",
        "read": "A wonderful heron.",
    }
    async with in_process(tmp_path, embedder=Refusing(), settings=settings) as memos:

        async def found(archived: bool) -> set[str]:
            positive = "predicted.sentiment:positive"
            query = SearchQuery(query="", filter=positive, include_archived=archived)
            hits = (await memos.service.search(memos.administrator, query)).hits
            return {hit.memory.id for hit in hits}

        new = [NewMemory(id=id, text=text) for id, text in said.items()]
        await memos.service.add(memos.administrator, new)
        assert await found(archived=False) == {"glad", "read"}
        await memos.service.archive(memos.administrator, "glad")
        assert await found(archived=False) == {"read"}
        assert await found(archived=True) == {"glad", "read"}


async def test_texts_that_are_all_refused_hold_up_no_later_ones(tmp_path: Path) -> None:
    settings = VaultSettings(partitions=1)
    model = Refusing()
    async with in_process(tmp_path, embedder=model, settings=settings) as memos:
        new = [NewMemory(text=f"the walrus of {place}") for place in ("Lisbon", "Porto", "Faro")]
        await memos.service.add(memos.administrator, new)
        query = SearchQuery(query="heron", wait_indexed=True, limit=100)
        found = await memos.service.search(memos.administrator, query)
        assert (found.unembedded, len(found.hits)) == (3, 3)
        status = await memos.crew.shard("shard-0").status()
        assert status.counters["embed_refused"] == 3
        await memos.service.add(memos.administrator, [NewMemory(text="the heron of Faro")])
        found = await memos.service.search(memos.administrator, query)
        assert (found.unembedded, len(found.hits)) == (3, 4)
