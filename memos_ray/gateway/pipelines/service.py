"""PipelineService: pipelines, for all doors."""

from __future__ import annotations

from uuid import uuid4

from memos_ray.core.pipeline.definition import PipelineSpec, order
from memos_ray.core.pipeline.effects import Effect
from memos_ray.core.pipeline.run import Run
from memos_ray.core.pipeline.stored import StoredPipeline
from memos_ray.errors import InvalidInputError, MemosError, UnavailableError
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.pipelines.models import (
    PipelineOrder,
    RunEffect,
    RunList,
    RunReport,
    RunRequest,
    RunStep,
    StoredPipelineInfo,
    StoredPipelineList,
)
from memos_ray.ports import PipelinesPort


class PipelineService:
    """Starts, shows and ends runs, and keeps named pipelines.

    Every method takes the `Caller`; errors are those of `PipelinesPort` and of authentication.
    """

    def __init__(self, authenticator: Authenticator, runner: PipelinesPort | None) -> None:
        self._authenticator = authenticator
        self._runner = runner

    async def validate(self, caller: Caller, definition: PipelineSpec) -> PipelineOrder:
        """Describes a sound pipeline, and says what a run would fail of all the same.

        One that is not sound does not come this far.
        """
        context, _ = await self._authenticator.context(caller)
        return PipelineOrder(
            name=definition.name,
            digest=definition.digest(),
            order=order(definition.needs()),
            parameters=list(definition.parameters),
            problems=await self._port.check(context, definition),
        )

    async def counts(self) -> dict[str, int]:
        """Returns the runner's counts; none while it is away or there is none."""
        try:
            return await self._port.counts()
        except MemosError:
            return {}

    async def run(self, caller: Caller, wanted: RunRequest) -> RunReport:
        """Begins a run; returns at once."""
        context, _ = await self._authenticator.context(caller)
        spec = wanted.definition
        if spec is None:
            assert wanted.template is not None
            place = wanted.namespace or context.home
            stored = await self._port.template(context, place, wanted.template, wanted.version)
            spec = stored.spec
        key = wanted.idempotency_key or uuid4().hex
        return _shown(await self._port.start(context, spec, wanted.params, key))

    async def status(self, caller: Caller, run_id: str) -> RunReport:
        """Shows a run."""
        context, _ = await self._authenticator.context(caller)
        return _shown(await self._port.run(context, run_id))

    async def runs(self, caller: Caller) -> RunList:
        """Lists the caller's runs; for administrators, those of the tenant."""
        context, _ = await self._authenticator.context(caller)
        return RunList(runs=[_shown(run) for run in await self._port.runs(context)])

    async def cancel(self, caller: Caller, run_id: str) -> RunReport:
        """Ends a run before it commits."""
        context, _ = await self._authenticator.context(caller)
        return _shown(await self._port.cancel(context, run_id))

    async def keep(
        self, caller: Caller, name: str, definition: PipelineSpec, namespace: str | None = None
    ) -> StoredPipelineInfo:
        """Stores a new version of a named pipeline."""
        context, _ = await self._authenticator.context(caller)
        if definition.name != name:
            raise InvalidInputError("the pipeline has another name", field="name", name=name)
        place = namespace or context.home
        return _info(await self._port.keep(context, place, definition))

    async def templates(self, caller: Caller, namespace: str | None = None) -> StoredPipelineList:
        """Lists the pipelines of a namespace."""
        context, _ = await self._authenticator.context(caller)
        found = await self._port.kept(context, namespace or context.home)
        return StoredPipelineList(pipelines=[_info(one) for one in found])

    async def template(
        self,
        caller: Caller,
        name: str,
        namespace: str | None = None,
        *,
        version: int | None = None,
    ) -> StoredPipelineInfo:
        """Shows a version of a pipeline, the newest when absent."""
        context, _ = await self._authenticator.context(caller)
        place = namespace or context.home
        return _info(await self._port.template(context, place, name, version))

    @property
    def _port(self) -> PipelinesPort:
        if self._runner is None:
            raise UnavailableError("no runner of pipelines is here")
        return self._runner


def _info(stored: StoredPipeline) -> StoredPipelineInfo:
    return StoredPipelineInfo(
        name=stored.spec.name,
        namespace=stored.namespace,
        version=stored.version,
        author=stored.author,
        at=stored.at,
        definition=stored.spec,
    )


def _shown(run: Run) -> RunReport:
    versions: dict[tuple[str, int], tuple[int, bool]] = {}
    for commit in run.commits:
        effects = run.effects_in(commit.partition)
        for effect, version in zip(effects, commit.versions, strict=False):
            versions[effect.step, effect.index] = (version, commit.undone)
    return RunReport(
        id=run.id,
        pipeline=run.spec.name,
        digest=run.spec.digest(),
        principal=run.context.principal.id,
        state=run.state,
        started=run.started,
        ended=run.ended,
        reason=run.reason,
        message=run.message,
        steps=[
            RunStep(
                id=step.id,
                kind=step.kind,
                state=record.state,
                digest=record.digest,
                attempts=record.attempts,
                memories=len(record.memories),
                rewritten=record.rewritten,
                error=record.error,
                effects=[_effect(one, versions) for one in record.effects],
            )
            for step in run.spec.steps
            for record in (run.record(step.id),)
        ],
    )


def _effect(effect: Effect, versions: dict[tuple[str, int], tuple[int, bool]]) -> RunEffect:
    version, undone = versions.get((effect.step, effect.index), (None, False))
    return RunEffect(
        kind=effect.kind,
        memory_id=effect.cube_id,
        namespace=effect.namespace,
        version=version,
        undone=undone,
    )
