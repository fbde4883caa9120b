"""The sections of the latency benchmark that need no cluster, on a handful of memories."""

from __future__ import annotations

import os

import pytest

from benchmarks.isolation import isolated
from benchmarks.latency import archive, noisy, resident, shard, sweep, topics, users
from benchmarks.latency.shard import accepted
from benchmarks.processes import tree_by_name, tree_rss_bytes
from memos_ray.gateway.memories.models import WriteReport, WriteResult
from memos_ray.gateway.problem_model import Problem


def test_a_shard_is_measured_at_each_size() -> None:
    figures = shard.measure([30, 60], searches=5)
    assert list(figures) == ["30", "60"]
    for found in figures.values():
        assert isinstance(found, dict)
        assert set(found) == {"adds_per_s", "add", "search", "search_repeated", "search_after_add"}


def test_a_resident_memory_takes_more_than_its_text() -> None:
    figures = resident.measure(400)
    held, text = figures["estimated_bytes_per_memory"], figures["text_bytes_per_memory"]
    assert isinstance(held, int) and isinstance(text, int)
    assert held > 2 * 384 + text


def test_users_are_added_stage_by_stage() -> None:
    figures = users.measure([2, 5], memories=6)
    assert [(one["users"], one["memories"]) for one in figures] == [(2, 12), (5, 30)]
    assert [one["resident_memories"] for one in figures] == [12, 30]


def test_a_sweep_is_measured_beside_searches() -> None:
    figures = sweep.measure(60, searched=30, searches=5)
    assert figures["looked_at_during"] == 90 and figures["moved_during"] == 6
    assert {"search_alone", "search_during", "p95_ratio", "rss_growth_mib"} <= set(figures)


def test_archiving_and_restoring_are_measured() -> None:
    figures = archive.measure(30, shards=2)
    alone, machine = figures["one_shard"], figures["machine"]
    assert isinstance(alone, dict) and isinstance(machine, dict)
    assert set(alone) == {"archive", "restore", "asked", "asked_moves", "asked_texts"}
    assert set(machine) == {"shards", *alone}
    assert all(rates["per_s"] > 0 and rates["per_cpu_s"] > 0 for rates in alone.values())


def test_every_memory_is_sorted_into_topics() -> None:
    (one,) = topics.measure([200])
    assert one["memories"] == 200 and int(str(one["topics"])) <= int(str(one["concepts"]))


def test_SCHED_5_a_noisy_tenant_is_measured() -> None:
    figures = noisy.measure(30, seconds=0.5)
    beside, alone = figures["beside_10x"], figures["alone"]
    assert isinstance(beside, dict) and isinstance(alone, dict)
    assert beside["p95_times"] > 0 and alone["p95_ms"] > 0


def test_a_refused_memory_ends_the_measurement() -> None:
    problem = Problem(type="urn:x", title="x", status=507, code="store_full", detail="full")
    good, bad = WriteResult(id="a", version=1), WriteResult(error=problem)
    accepted(WriteReport(results=[good], token=""))
    with pytest.raises(RuntimeError, match="store_full"):
        accepted(WriteReport(results=[good, bad], token=""))


def test_isolated_work_runs_in_another_process() -> None:
    assert isolated(os.getpid) != os.getpid()
    with pytest.raises(ZeroDivisionError):
        isolated(divmod, 1, 0)


def test_the_tree_counts_this_process() -> None:
    assert tree_rss_bytes() > 10 << 20
    assert sum(kind["processes"] for kind in tree_by_name().values()) >= 1
