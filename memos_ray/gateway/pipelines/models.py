"""Pipelines: what is asked, and what is shown of their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, model_validator

from memos_ray.core.pipeline.definition import (
    Namespace,
    PipelineName,
    PipelineSpec,
    Scalar,
    StepName,
)
from memos_ray.core.pipeline.effects import EffectKind
from memos_ray.core.pipeline.run import RunState, StepState
from memos_ray.gateway.fields import Key, Model, Version


class RunRequest(Model):
    """A pipeline to run: its `definition`, or the name of a stored one in `template`.

    A template is looked for in `namespace`, the caller's own home when absent; `version` is the
    newest one when absent. `params` are the values of its parameters.
    """

    definition: PipelineSpec | None = None
    template: PipelineName | None = None
    version: Version | None = None
    namespace: Namespace | None = None
    params: Annotated[dict[StepName, Scalar], Field(max_length=64)] = {}
    idempotency_key: Key | None = None

    @model_validator(mode="after")
    def _one(self) -> RunRequest:
        if (self.definition is None) is (self.template is None):
            raise ValueError("give either a definition or a template")
        if self.definition is not None and self.version is not None:
            raise ValueError("only a template has versions")
        return self


class PipelineOrder(Model):
    """A sound pipeline: its steps in an order in which they may run, and what it is given.

    `problems` says what a run would fail of at this moment: models, webhooks and namespaces that
    are not there or not for the caller.
    """

    name: str
    digest: str
    order: list[str]
    parameters: list[str]
    problems: list[str] = []


class StoredPipelineInfo(Model):
    """A version of a named pipeline."""

    name: str
    namespace: str
    version: int
    author: str
    at: datetime
    definition: PipelineSpec


class StoredPipelineList(Model):
    """The newest version of each pipeline of a namespace."""

    pipelines: list[StoredPipelineInfo]


class RunEffect(Model):
    """A write of a run. `version` is the one that it has made, once it is durable."""

    kind: EffectKind
    memory_id: str
    namespace: str
    version: int | None = None
    undone: bool = False


class RunStep(Model):
    """A step of a run. `digest` identifies its output, `error` is the code of what ended it.

    `rewritten` says how many of its questions were completed from the turns before them.
    """

    id: str
    kind: str
    state: StepState
    digest: str = ""
    attempts: int = 0
    memories: int = 0
    rewritten: int = 0
    error: str | None = None
    effects: list[RunEffect] = []


class RunReport(Model):
    """A run of a pipeline. `reason` is the code of the error that ended it."""

    id: str
    pipeline: str
    digest: str
    principal: str
    state: RunState
    started: datetime
    ended: datetime | None = None
    reason: str | None = None
    message: str = ""
    steps: list[RunStep]


class RunList(Model):
    """Runs, newest first."""

    runs: list[RunReport]
