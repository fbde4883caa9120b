"""What the actors count of themselves, and where each thing that happens unasked is told.

Counts are shown as `memos_shard_count` and `memos_pipeline_count`. A name that ends in `*` stands
for all that begin like it. The tables in `docs/operations.md` are made of this, and a test compares
it with what the actors count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHARD_COUNTS: Mapping[str, str] = {
    "reads": "Memories asked for by id.",
    "searches": "Searches.",
    "writes": "Writes asked for.",
    "quota_refused": "Writes that a quota has refused.",
    "fenced": "Partitions lost to a newer owner.",
    "errors_*": "Failures of what runs on the side, by its name.",
    "embedded": "Versions that were embedded.",
    "embed_refused": "Memories whose texts the embedder refuses; they are found by their words.",
    "namespaces_loaded": "Namespaces read into memory.",
    "memories_damaged": "Memories that cannot be read, met when loading namespaces or embedding.",
    "namespaces_evicted": "Namespaces let go of for want of room.",
    "automatic_*": "Writes that nobody has asked for, by who makes them.",
    "turns_*": "Turns at ranking by who has had them; those that had to wait, or were refused.",
    "kv_hits": "Prompts whose KV cache was there.",
    "kv_misses": "Prompts whose KV cache was not there.",
    "kv_builds": "KV caches computed.",
    "kv_loads": "KV caches brought back from rest.",
    "kv_declined": "KV caches not worth their bytes.",
    "kv_evictions": "KV caches let go of.",
    "promotions": "Memories that became a KV cache by their use.",
    "demotions": "Memories that became text again.",
    "conversations_*": "Turns of conversations kept, and conversations outdated or let go of.",
    "preload_turns": "Turns behind which the next one was forecast.",
    "preload_loaded": "Memories loaded for a next turn.",
    "preload_needed": "Memories that turns behind a first one have used.",
    "preload_hits": "Of these, those that were at hand.",
    "lifecycle_*": "Moves made by age and use, by the move.",
    "branches_*": "Branches made, merged and discarded.",
    "organise_*": "Memories compared; duplicates and overtaken facts, by what has become of them.",
    "topics_*": "Memories sorted into topics, and what has become of concepts.",
    "source_*": "Sections of sources, and later memories, compared; findings, and their ends.",
    "reuse_offered": "Memories that were offered for a task.",
    "extraction_*": "Jobs, requests and tokens of extraction, and what has become of them.",
    "journals_emptied": "Journals of parked pipeline runs that held erased memories.",
    "proposals_*": "Proposals to teach a model, by what has become of them.",
    "lessons_automatic": "Lessons that were begun unasked.",
    "adapters_*": "Adapters retired, and erased with the weights in all replicas.",
    "relearning_*": "What models are to learn again behind that: wanted, and taken up by a lesson.",
    "feedback": "Opinions of callers on memories.",
    "feedback_implicit": "Signs of use in answers: words that came back, questions asked again.",
    "evolution_*": "Splits, summaries, their words, and promotions, by what became of them.",
}

PIPELINE_COUNTS: Mapping[str, str] = {
    "runs_*": "Runs begun, resumed, and ended by state; `runs_open` and `runs_parked` are of now.",
    "steps_*": "Steps by their state, and tries after the first.",
    "waits": "Times that a run has waited for a shard or a store.",
    "defects": "Times that a run could not go on for another reason.",
}


@dataclass(frozen=True, slots=True)
class Action:
    """Something that happens without being asked for.

    Attributes:
        counts: names of `SHARD_COUNTS` or `PIPELINE_COUNTS`, or of a metric.
        told: the log that has an entry of it, and as what.
        why: where a caller may read the reasons.
    """

    name: str
    counts: tuple[str, ...]
    told: str
    why: str


ACTIONS: tuple[Action, ...] = (
    Action(
        "embedding",
        ("embedded", "embed_refused", "memos_shard_lag"),
        "`embed` warnings",
        "`memos-ray top`",
    ),
    Action(
        "loading and eviction of namespaces",
        ("namespaces_loaded", "namespaces_evicted", "memories_damaged"),
        "shard log",
        "`memos-ray top`",
    ),
    Action(
        "promotion to a KV cache and demotion",
        ("promotions", "demotions", "kv_builds", "kv_evictions", "kv_declined"),
        "audit log, `create` and `delete` with the reason",
        "`memos-ray kv explain`",
    ),
    Action(
        "forecasts of next turns",
        ("preload_turns", "preload_loaded", "preload_hits", "preload_needed"),
        "shard log",
        "`memos-ray chat --explain`",
    ),
    Action(
        "forms that prompts take",
        ("memos_prompt_forms_total",),
        "gateway log",
        "`memos-ray chat --explain`",
    ),
    Action(
        "proposals and lessons",
        ("proposals_*", "lessons_automatic"),
        "shard log; audit log of the adapter",
        "`memos-ray adapter proposals`",
    ),
    Action(
        "retirement of adapters, and what is learnt again",
        ("adapters_*", "relearning_*"),
        "shard log; audit log of the new adapter, with the reason",
        "`memos-ray adapter ls`; `memos-ray receipt`",
    ),
    Action(
        "copies of hot caches and adapters",
        ("memos_kv_copies",),
        "log of the process that asks, with the reason",
        "[scheduling](scheduling.md#where-it-lies)",
    ),
    Action(
        "archiving, expiry, collection",
        ("lifecycle_*",),
        "audit log, with the cause",
        "`memos-ray timeline`",
    ),
    Action(
        "duplicates and overtaken facts",
        ("organise_*", "automatic_*"),
        "audit log, application `organiser`",
        "`memos-ray organise ls`",
    ),
    Action(
        "topics and their labels",
        ("topics_*",),
        "shard log",
        "`memos-ray topics tree`",
    ),
    Action(
        "comparison with trusted sources",
        ("source_*",),
        "shard log",
        "`memos-ray source review`",
    ),
    Action(
        "extraction by a model",
        ("extraction_*", "memos_shard_extraction_queued", "automatic_*"),
        "shard log; audit log of the sources, `derive`",
        "`memos-ray extraction status`",
    ),
    Action(
        "questions read in their dialogue",
        ("memos_questions_read_total",),
        "gateway log",
        "`memos-ray understand`",
    ),
    Action(
        "splits, summaries, promotions",
        ("evolution_*", "automatic_*"),
        "shard log; audit log, application `evolution`",
        "`memos-ray evolve status`",
    ),
    Action(
        "what memories are worth",
        ("feedback", "feedback_implicit"),
        "access log, `feedback`",
        "`memos-ray evolve status`; `worth` in explained searches",
    ),
    Action(
        "pipelines: going on, compensating, parking",
        ("runs_*", "steps_*", "waits", "defects", "journals_emptied"),
        "control log, `pipeline`",
        "`memos-ray pipeline status`",
    ),
)


def known(name: str, counts: Mapping[str, str]) -> bool:
    """Tells whether a count is among those that are described."""
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in counts)
