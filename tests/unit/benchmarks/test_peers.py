"""The comparison: what the systems are given, and that each adapter finds what it stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.metrics import average, score
from benchmarks.peers import workload
from benchmarks.peers.__main__ import PEERS_PYTHON, ROOT, measured
from benchmarks.peers.measuring import Asked, Item, Workload, measure
from benchmarks.peers.run import MODULES
from benchmarks.peers.vectors import VectorTable
from memos_ray.testing.embedders import HashingEmbedder

CONTENT = (ROOT / "examples" / "conversation.json").read_bytes()
FIGURES = {"adds_per_s", "add_p50_ms", "search_p50_ms", "recall@10", "rss_mb"}


@pytest.fixture(scope="module")
def work() -> Workload:
    whole = workload.build(CONTENT, memories=100, lone=5)
    kept = {name: items[:60] for name, items in whole.spaces.items()}
    ids = {item.id for items in kept.values() for item in items}
    asked = [one for one in whole.questions if set(one.gold) <= ids]
    return replace(
        whole,
        filler=whole.filler[:30],
        spaces=kept,
        questions=asked[:12],
        filler_questions=whole.filler_questions[:3],
        batch=16,
    )


class Dense:
    """Exact cosines over what was said: what a system with vectors alone has to find."""

    def __init__(self, table: VectorTable) -> None:
        self._table = table
        self.stored: dict[str, list[Item]] = {}

    def add(self, space: str, items: Sequence[Item]) -> None:
        self.stored.setdefault(space, []).extend(items)

    def finish(self) -> None: ...

    def rest(self) -> None: ...

    def close(self) -> None: ...

    def search(self, space: str, text: str, k: int) -> list[str]:
        items = self.stored[space]
        vectors = self._table.look_up([item.said for item in items])
        best = np.argsort(-(vectors @ self._table.look_up([text])[0]), kind="stable")[:k]
        return [items[place].id for place in best]


def test_a_workload_has_the_whole_conversation_and_is_filled_up() -> None:
    whole = workload.build(CONTENT, memories=2000, lone=7)
    (items,) = whole.spaces.values()
    assert len(items) + len(whole.filler) == 2000
    assert len(whole.lone) == 7
    ids = [item.id for item in items]
    assert len(set(ids)) == len(ids)
    assert all(set(one.gold) <= set(ids) for one in whole.questions)
    assert all(item.said.endswith(item.fields["text"]) for item in items)


def test_a_workload_survives_its_file(work: Workload, tmp_path: Path) -> None:
    work.save(tmp_path / "workload.json")
    assert Workload.load(tmp_path / "workload.json") == work


def test_a_workload_embeds_the_events_that_times_count_from(work: Workload) -> None:
    asked = Asked(workload.FILLER, "What happened the week before her birthday?")
    assert "her birthday" in set(workload.texts_of(replace(work, questions=[asked])))


def test_a_table_returns_the_vector_of_each_text(tmp_path: Path) -> None:
    embedder = HashingEmbedder(16)
    texts = [f"text number {n}" for n in range(50)]
    table = VectorTable.build(tmp_path, [*texts, *texts], embedder)
    assert np.array_equal(table.look_up(texts[::-1]), embedder.embed(texts[::-1]))
    with pytest.raises(KeyError, match="beforehand"):
        table.look_up(["text number 7", "never seen"])
    assert table.legible("text number 7") == embedder.legible("text number 7")


def test_the_measurement_counts_adds_and_searches_as_given(work: Workload, tmp_path: Path) -> None:
    system = Dense(workload.embed(work, HashingEmbedder(), tmp_path))
    figures, more = measure(system, work)
    assert set(figures) == FIGURES
    assert system.stored["filler"] == [*work.filler, *work.lone]
    assert {name: system.stored[name] for name in work.spaces} == work.spaces
    assert 0 < figures["recall@10"] <= 1
    assert more["recall@5"] <= figures["recall@10"]


@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="scripts/install-peers has not been run")
@pytest.mark.parametrize("name", sorted(set(MODULES) - {"memos_ray"}))
def test_a_peer_finds_what_it_stored(name: str, work: Workload, tmp_path: Path) -> None:
    table = workload.embed(work, HashingEmbedder(), tmp_path)
    work.save(tmp_path / "workload.json")
    found = measured(name, tmp_path)["figures"]
    assert set(found) == FIGURES
    dense = Dense(table)
    for space, items in work.spaces.items():
        dense.add(space, items)
    exact = average([score(dense.search(q.space, q.text, 10), q.gold) for q in work.questions])
    if name != "lancedb_hybrid":
        assert found["recall@10"] == pytest.approx(exact["recall@10"], abs=1e-4)
    assert found["recall@10"] > 0
