"""The state of one run: what its journal holds, and which move comes next. Pure.

    running ──▶ committing ──▶ following ──▶ done
       │             │              └──────▶ incomplete    (committed; a hook or a model failed)
       │             ▼
       │        compensating ──▶ failed
       │             └─────────▶ stuck                     (an effect could not be undone)
       ├──▶ failed
       └──▶ cancelled

A run whose journal cannot be read is `parked`: its journal is kept as it is, for a runner that can.

Invariants: nothing is written before `committing`; what is to be written is decided by then and
does not change; a run leaves `committing` forward only when every partition has committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

import orjson
from pydantic import TypeAdapter, ValidationError

from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.identity import digest
from memos_ray.core.pipeline.definition import Augment, PipelineSpec, Scalar, order
from memos_ray.core.pipeline.effects import Effect, FollowUp
from memos_ray.errors import StoreCorruptError


class RunState(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    COMMITTING = "committing"
    COMPENSATING = "compensating"
    FOLLOWING = "following"
    DONE = "done"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STUCK = "stuck"
    PARKED = "parked"


ENDED = frozenset(
    {
        RunState.DONE,
        RunState.INCOMPLETE,
        RunState.FAILED,
        RunState.CANCELLED,
        RunState.STUCK,
        RunState.PARKED,
    }
)
"""States in which nothing moves a run any more, as long as this runner lives."""


class StepState(StrEnum):
    """Where a step is."""

    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


@crossing
@dataclass(frozen=True, slots=True)
class MemoryRef:
    """A memory at the version that the run has met."""

    cube_id: str
    version: int
    namespace: str


@crossing
@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of a step.

    Attributes:
        digest: of its output; what is left of it once the run has ended.
        attempts: tries so far.
        error: code of the error that ended it.
        rewritten: how many of its questions were completed from what was said before.
    """

    state: StepState = StepState.WAITING
    memories: tuple[MemoryRef, ...] = ()
    texts: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    follow: FollowUp | None = None
    digest: str = ""
    attempts: int = 0
    error: str | None = None
    rewritten: int = 0

    def identified(self) -> StepRecord:
        """Returns the record with the digest of its output."""
        body = _STEP.dump_json(replace(self, digest="", attempts=0))
        return replace(self, digest=digest(b"memos-pipeline-step-1", body))


@crossing
@dataclass(frozen=True, slots=True)
class PartitionCommit:
    """What became of the effects in one partition.

    Attributes:
        versions: the version that each effect has made, in order; none before the commit.
        undone: whether they were compensated.
    """

    partition: int
    versions: tuple[int, ...] = ()
    undone: bool = False


@crossing
@dataclass(frozen=True, slots=True)
class Run:
    """One run of a pipeline.

    Attributes:
        context: its caller; every step is judged anew by it.
        started: when, and `deadline` until when steps may begin.
        reason: code of the error that ended it; `message` in words.
    """

    id: str
    context: CallContext
    spec: PipelineSpec
    params: Mapping[str, Scalar]
    started: datetime
    deadline: datetime
    state: RunState = RunState.RUNNING
    steps: Mapping[str, StepRecord] = field(default_factory=dict)
    commits: tuple[PartitionCommit, ...] = ()
    followed: tuple[str, ...] = ()
    reason: str | None = None
    message: str = ""
    ended: datetime | None = None

    def record(self, step: str) -> StepRecord:
        """Returns what is known of a step."""
        return self.steps.get(step, _FRESH)

    def with_step(self, step: str, record: StepRecord) -> Run:
        """Returns the run with another record of a step."""
        return replace(self, steps={**self.steps, step: record})

    def ready(self) -> list[str]:
        """Returns the steps that may begin."""
        needs = self.spec.needs()
        return [
            step
            for step in needs
            if self.record(step).state is StepState.WAITING
            and all(self.record(one).state is not StepState.WAITING for one in needs[step])
        ]

    def idle(self, step: str) -> bool:
        """Tells whether a step is to be skipped because all that it needs was."""
        wanted = self.spec.needs()[step]
        return bool(wanted) and all(self.record(one).state is StepState.SKIPPED for one in wanted)

    def effects(self) -> list[Effect]:
        """Returns all that is to be written, in the order in which it is."""
        steps = order(self.spec.needs())
        return [effect for step in steps for effect in self.record(step).effects]

    def effects_in(self, partition: int) -> list[Effect]:
        """Returns what is to be written in one partition."""
        return [effect for effect in self.effects() if effect.partition == partition]

    def follow_ups(self) -> list[tuple[str, FollowUp]]:
        """Returns what comes after the commit and is not done yet, by step."""
        found = []
        for step in order(self.spec.needs()):
            follow = self.record(step).follow
            if follow is not None and step not in self.followed:
                found.append((step, follow))
        return found

    def committed(self) -> Run:
        """Returns the run at the beginning of its commit; with nothing to write it is over."""
        partitions = sorted({effect.partition for effect in self.effects()})
        commits = tuple(PartitionCommit(one) for one in partitions)
        return replace(self, state=RunState.COMMITTING, commits=commits)

    def with_commit(self, commit: PartitionCommit) -> Run:
        """Returns the run with another record of a partition."""
        commits = tuple(
            commit if one.partition == commit.partition else one for one in self.commits
        )
        return replace(self, commits=commits)

    def over(self, state: RunState, now: datetime) -> Run:
        """Returns the ended run: with digests and ids, and without a word of any memory."""
        steps = {
            name: replace(
                record,
                texts=(),
                effects=tuple(effect.bare() for effect in record.effects),
                follow=None,
            )
            for name, record in self.steps.items()
        }
        return replace(self, state=state, steps=steps, ended=now)


_FRESH = StepRecord()
_RUN: TypeAdapter[Run] = TypeAdapter(Run)
_STEP: TypeAdapter[StepRecord] = TypeAdapter(StepRecord)


def encode(run: Run) -> bytes:
    """Writes a run as JSON."""
    return _RUN.dump_json(run)


def decode(body: bytes) -> Run:
    """Reads what `encode` has written.

    Raises:
        StoreCorruptError: it is no run.
    """
    try:
        return _RUN.validate_json(body)
    except ValidationError:
        raise StoreCorruptError("the journal of a run cannot be read") from None


def parked(run_id: str, body: bytes) -> Run:
    """Stands for a run whose journal cannot be read: what can be told of it, and that it rests.

    Without a caller that can be told it belongs to no tenant, and nobody is shown it.
    """
    try:
        flat = orjson.loads(body)
        context = _CONTEXT.validate_python(flat["context"])
    except (ValueError, KeyError, TypeError):
        flat, context = {}, CallContext(Principal("", ""))
    try:
        spec = PipelineSpec.model_validate(flat["spec"])
    except (ValueError, KeyError, TypeError):
        spec = _UNREADABLE
    try:
        started = datetime.fromisoformat(flat["started"])
    except (ValueError, KeyError, TypeError):
        started = datetime.fromtimestamp(0, UTC)
    return Run(
        run_id,
        context,
        spec,
        {},
        started,
        started,
        RunState.PARKED,
        reason=StoreCorruptError.code,
        message="the journal held a memory that was erased, and is empty"
        if flat.get("emptied")
        else "the journal of the run cannot be read",
    )


_CONTEXT: TypeAdapter[CallContext] = TypeAdapter(CallContext)
_UNREADABLE = PipelineSpec(
    name="unreadable", steps=(Augment(id="unreadable", template="unreadable"),)
)


def pause_s(backoff_s: float, attempt: int) -> float:
    """Returns how long to wait after a failed try, which is the first for `attempt` 1."""
    return float(min(backoff_s * 2 ** (attempt - 1), 60.0))
