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

Shares are of 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

from benchmarks.isolation import figures_alone, isolated
from benchmarks.lora import training
from benchmarks.machine import describe
from memos_ray.testing.recall.teaching import RECALL_TRAINING


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Runs all sections."""
    settings = replace(RECALL_TRAINING, seed=chosen.seed, threads=chosen.threads)
    found = {}
    for count in chosen.facts:
        print(f"teaching {count} facts", file=sys.stderr)
        found[str(count)] = isolated(training.taught, count, settings, chosen.questions)
    print(f"teaching {chosen.deletion} facts without five of them", file=sys.stderr)
    deletion = isolated(training.after_deletion, chosen.deletion, settings)
    return {
        "facts": found,
        "after_deletion": deletion,
        "machine": describe("torch", "transformers", "peft"),
    }


def parser() -> argparse.ArgumentParser:
    """Describes the command line."""
    made = argparse.ArgumentParser(
        prog="benchmarks.lora",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--facts", type=_numbers, default=[10, 50, 200])
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
