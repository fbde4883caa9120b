"""Extraction: how it stands, and which jobs did not succeed."""

from __future__ import annotations

from datetime import datetime

from memos_ray.gateway.fields import Model


class ExtractionSource(Model):
    """How far one conversation or document has come; memories that are read, by their state."""

    source: str
    owner: str
    queued: int
    running: int
    parked: int
    read: int
    memories: int
    refused: int
    tokens: int
    done_at: datetime | None


class ExtractionJob(Model):
    """Memories that a model reads together, and why they are not read yet.

    `state` is `queued`, `running` or `parked`; `reason` the code of what has failed, or `budget`,
    `model_away` or `no_model`. Of `aside` it is no job, but an extracted memory, by its id, that
    cannot follow its sources.
    """

    id: str
    state: str
    source: str
    owner: str
    memory_ids: list[str]
    attempts: int
    reason: str
    not_before: datetime | None


class ExtractionStatus(Model):
    """How extraction stands in a namespace.

    `automatic` tells whether all that is stored there is read, marked with `extract` or not.
    `queued`, `running`, `parked` and `done` count jobs; `read` the memories that were read,
    `memories` those made of them, `refused` what was not taken of answers, by reason. `lag` counts
    log entries that have not been looked at yet.
    """

    model: str
    automatic: bool
    lag: int
    queued: int
    running: int
    parked: int
    done: int
    read: int
    memories: int
    tokens: int
    refused: dict[str, int]
    sources: list[ExtractionSource]
    jobs: list[ExtractionJob]


class ExtractionRetry(Model):
    """What is tried again: a parked job, or a memory set aside; all of the caller's when absent."""

    job: str | None = None


class ExtractionRetried(Model):
    """How many jobs are tried again."""

    retried: int


class ExtractionAutomation(Model):
    """Whether a model reads all that is stored in a namespace, or only what is marked."""

    automatic: bool
