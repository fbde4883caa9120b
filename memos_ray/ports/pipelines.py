"""The runner of pipelines as its callers see it, and how it reaches beyond the cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from memos_ray.core.access.context import CallContext
from memos_ray.core.pipeline.definition import PipelineSpec, Scalar
from memos_ray.core.pipeline.run import Run
from memos_ray.core.pipeline.stored import StoredPipeline


class PipelinesPort(Protocol):
    """The runner of pipelines; every call is one remote hop.

    Callers see and cancel their own runs; administrators of the tenant all of its runs.
    """

    async def start(
        self, context: CallContext, spec: PipelineSpec, params: Mapping[str, Scalar], key: str
    ) -> Run:
        """Begins a run; returns at once.

        Args:
            key: names the run for its caller: with the same one the same run is returned.

        Raises:
            IdempotencyConflictError: the key belongs to a run of another pipeline.
            InvalidInputError: a parameter is missing or unknown.
            OverloadedError: too many runs are under way.
        """
        ...

    async def run(self, context: CallContext, run_id: str) -> Run:
        """Returns a run.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        ...

    async def runs(self, context: CallContext) -> list[Run]:
        """Returns the runs of the caller, newest first."""
        ...

    async def cancel(self, context: CallContext, run_id: str) -> Run:
        """Ends a run before it commits; one that has ended is left as it is.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
            IllegalStateError: it is committing already.
        """
        ...

    async def check(self, context: CallContext, spec: PipelineSpec) -> list[str]:
        """Returns what a run of the caller's would fail of, a sentence each; none when it can run.

        Looks at what the definition names: models, webhooks, namespaces and what the caller may do
        there. What memories say, and what happens meanwhile, it cannot know.
        """
        ...

    async def counts(self) -> dict[str, int]:
        """Returns counts of runs and steps since the runner's start, and of open and parked runs.

        No call of a user's: it names no tenant.
        """
        ...

    async def keep(
        self, context: CallContext, namespace: str, spec: PipelineSpec
    ) -> StoredPipeline:
        """Stores a new version of a named pipeline in a namespace.

        Raises:
            NotFoundError: the caller is not admitted to the namespace.
            PermissionDeniedError: the caller may not create there.
            VersionConflictError: another one was stored at the same time.
        """
        ...

    async def kept(self, context: CallContext, namespace: str) -> list[StoredPipeline]:
        """Returns the newest version of each pipeline of a namespace, by name."""
        ...

    async def template(
        self, context: CallContext, namespace: str, name: str, version: int | None
    ) -> StoredPipeline:
        """Returns a version of a pipeline, the newest when absent.

        Raises:
            NotFoundError: there is none.
        """
        ...


class HookPort(Protocol):
    """Sends to webhooks."""

    def allows(self, url: str) -> bool:
        """Tells whether the settings allow a place."""
        ...

    async def post(self, url: str, key: str, body: bytes, timeout_s: float) -> None:
        """Sends JSON, once; redirects are not followed, and the answer is not read.

        Args:
            key: tells a repeated message from another one.

        Raises:
            PermissionDeniedError: the settings do not allow this place.
            UnavailableError: it does not answer, or says that it is away.
            InvalidInputError: it refuses the message.
        """
        ...


class RunJournalsPort(Protocol):
    """What runs hold of memories, for those who erase them. Blocks."""

    @property
    def counters(self) -> Mapping[str, int]:
        """How many journals were emptied."""
        ...

    def holding(self, erased: Sequence[tuple[str, Collection[str]]]) -> list[bool]:
        """Takes erased memories out of runs that nothing moves any more.

        Args:
            erased: tenants, each with ids of memories.

        Returns:
            For each whether a run holds something of them still.

        Raises:
            MemosError: the store is away.
        """
        ...
