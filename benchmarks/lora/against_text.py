"""What an adapter saves against the same facts as text in the prompt.

The prompts have the lengths of the recall model's own: its facts and a question, or the question
alone. They are put to a model of 100 million weights, whose engine runs in an actor and knows
nothing of them beforehand. For each number of facts:

    text_tokens       of a prompt with all facts and the question
    adapter_tokens    of the question alone
    tokens_saved      the difference
    text_ttft_ms      the base model, with the facts in the prompt; median
    adapter_ttft_ms   an adapter that has its slot, the question alone; median
    times_faster      the one over the other
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from statistics import median
from typing import Any

import ray

from benchmarks.lora.hot_load import AdapterReplica, adapters
from benchmarks.lora.training import facts
from benchmarks.ttft.subject import WARMING_TOKENS, Subject, question, say, tokens
from memos_ray.core.generation import ChatMessage
from memos_ray.core.teaching import Lessons
from memos_ray.serving.teaching.phrasings import phrasings_for
from memos_ray.serving.teaching.student import Student
from memos_ray.testing.recall import tiny_recall_path

_ADAPTER_MB = 8.0
_CPUS = 2


def measure(subject: Subject, counts: Sequence[int], tries: int, seed: int) -> dict[str, Any]:
    """Returns the figures by number of facts."""
    lengths = {count: prompt_lengths(count, seed) for count in counts}
    longest = max(text for text, _ in lengths.values())
    payload = adapters(subject, _ADAPTER_MB, 1)[0]
    settings = subject.settings(
        longest,
        adapter_slots=1,
        adapter_rank_max=payload.manifest.rank,
        adapter_host_bytes=2 * payload.data.size,
    )
    ray.init(
        address="local",
        num_cpus=_CPUS,
        num_gpus=0,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    try:
        replica: Any = ray.remote(num_cpus=1)(AdapterReplica).remote(settings)
        name, reference = payload.manifest.digest, ray.put(payload)
        for length in WARMING_TOKENS:
            ray.get(replica.answer.remote(tokens(length, 9)))
        ray.get(replica.answer.remote(tokens(WARMING_TOKENS[0], 9), name, [reference]))
        return {str(count): _of(replica, name, lengths[count], tries) for count in counts}
    finally:
        ray.shutdown()


def prompt_lengths(count: int, seed: int) -> tuple[int, int]:
    """Returns the tokens of a prompt with so many facts and a question, and of the question."""
    student = Student(tiny_recall_path())
    knowledge = facts(count, seed)
    asked = Lessons(knowledge, phrasings_for(tiny_recall_path()), seed=seed).held_out()[0].messages
    lines = ["Memories:", *(f"- {one.text}" for one in knowledge)]
    told = ChatMessage("system", "\n".join(lines))
    return len(student.prompt([told, *asked])), len(student.prompt(asked))


def _of(replica: Any, name: str, lengths: tuple[int, int], tries: int) -> dict[str, Any]:
    text, alone = lengths
    # The first of a length pays for memory that later ones find ready.
    ray.get(replica.answer.remote(tokens(text, 9)))
    taken: dict[str, list[float]] = {"text": [], "adapter": []}
    for number in range(tries):
        taken["text"].append(ray.get(replica.answer.remote(question(text, number))))
        taken["adapter"].append(ray.get(replica.answer.remote(question(alone, number), name)))
    text_s, adapter_s = median(taken["text"]), median(taken["adapter"])
    say(f"against_text: {text} tokens done")
    return {
        "text_tokens": text,
        "adapter_tokens": alone,
        "tokens_saved": text - alone,
        "text_ttft_ms": round(1e3 * text_s, 2),
        "adapter_ttft_ms": round(1e3 * adapter_s, 2),
        "times_faster": round(text_s / adapter_s, 1),
    }
