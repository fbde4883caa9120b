"""The benchmarks that need a cluster, on a handful of memories: they run, and count right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.isolation import isolated
from benchmarks.latency import adds, doors
from benchmarks.peers import workload
from benchmarks.peers.__main__ import ROOT, measured
from memos_ray.testing.embedders import HashingEmbedder

pytestmark = pytest.mark.e2e


def test_memos_ray_is_measured_like_its_peers(tmp_path: Path) -> None:
    content = (ROOT / "examples" / "conversation.json").read_bytes()
    whole = workload.build(content, memories=100, lone=3)
    questions = whole.questions[:20]
    work = replace(
        whole,
        filler=whole.filler[:40],
        questions=questions,
        filler_questions=whole.filler_questions[:2],
    )
    workload.embed(work, HashingEmbedder(), tmp_path)
    work.save(tmp_path / "workload.json")
    found = measured("memos_ray", tmp_path)
    assert found["figures"]["recall@10"] > 0.1
    assert found["figures"]["rss_mb"] > 100


def test_adds_are_measured_in_three_shapes() -> None:
    figures = isolated(adds.measure, 40, 4, 3)
    assert set(figures) == {"batches", "concurrent_4", "lone"}


def test_both_doors_are_measured() -> None:
    figures = isolated(doors.measure, [30], 3, embedding=False)
    assert set(figures) == {"embed_query", "30"}
    assert set(figures["30"]) == {"sdk", "rest"}  # type: ignore[call-overload]
