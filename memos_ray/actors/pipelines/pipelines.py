"""PipelineRunner: carries out pipelines, durably, with the rights of their callers.

A run is driven by one task here, and rests in its journal behind every step: whoever kills this
process loses at most the tries that were under way. Rights are never kept: the context of the
caller names its credential, and every read and write is judged by the policy of that moment.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from weakref import WeakValueDictionary

from memos_ray.actors.pipelines.checks import obstacles
from memos_ray.actors.pipelines.commit import PipelineCommit
from memos_ray.actors.pipelines.journal import PipelineJournal, newest
from memos_ray.actors.pipelines.steps import StepWork
from memos_ray.actors.pipelines.vault import PipelineVault
from memos_ray.config.pipelines import PipelineSettings
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.access.policy import no_namespace
from memos_ray.core.cube.identity import digest
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.defects import describe_defect
from memos_ray.core.pipeline.definition import PipelineSpec, Scalar, Step
from memos_ray.core.pipeline.run import ENDED, Run, RunState, StepRecord, StepState, pause_s
from memos_ray.core.pipeline.stored import StoredPipeline
from memos_ray.errors import (
    DeadlineExceededError,
    IdempotencyConflictError,
    IllegalStateError,
    InternalError,
    MemosError,
    NotFoundError,
    OverloadedError,
    VersionConflictError,
)
from memos_ray.ports import HookPort, ModelPort

_log = logging.getLogger(__name__)
_ID_CHARS = 32
_RETRY_S = 1.0
_SHARED = {"visibility": Visibility.SHARED.value, "owner": ""}


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """What the runner works with; the boot code injects it."""

    journal: PipelineJournal
    vault: PipelineVault
    models: Mapping[str, ModelPort]
    hooks: HookPort
    settings: PipelineSettings


class PipelineRunner:
    """Implements `ports.PipelinesPort`.

    Concurrency: methods run on the actor's event loop; the journal in worker threads, under one
    lock a run. Another runner that drives the same run makes this one let go of it.
    """

    def __init__(self, parts: RunnerParts) -> None:
        self._parts = parts
        self.counters: Counter[str] = Counter()
        self._runs: dict[str, Run] = {}
        self._parked: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Of the calls under way: runs are asked for again long after they have ended.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._resuming: asyncio.Task[None] | None = None
        self._commit = PipelineCommit(parts.vault, parts.hooks, self._save)

    async def resume(self) -> None:
        """Goes on with what a runner before this one has left, once; a failure is tried again."""
        if self._resuming is None:
            self._resuming = asyncio.create_task(self._resume())
        resuming = self._resuming
        try:
            await asyncio.shield(resuming)
        except Exception as error:
            # Whatever it was, the next call tries again.
            if self._resuming is resuming:
                self._resuming = None
            if isinstance(error, MemosError):
                raise
            _log.error("runs cannot be resumed: %s", describe_defect(error))
            raise InternalError("runs cannot be resumed", kind=type(error).__name__) from None

    async def start(
        self, context: CallContext, spec: PipelineSpec, params: Mapping[str, Scalar], key: str
    ) -> Run:
        """Begins a run; see `PipelinesPort`."""
        await self.resume()
        await self._parts.vault.admit(context)
        caller, settings = context.principal, self._parts.settings
        names = (caller.tenant, caller.id, key)
        run_id = digest(b"memos-run-1", *(name.encode() for name in names))[:_ID_CHARS]
        values = spec.bound(params)
        lock = self._locks.setdefault(run_id, asyncio.Lock())
        async with lock:
            if run_id in self._parked:
                raise IllegalStateError("the run of this key is parked", run=run_id)
            known = self._runs.get(run_id) or await asyncio.to_thread(
                self._parts.journal.ended_run, caller.tenant, run_id
            )
            if known is not None:
                if (known.spec, dict(known.params)) != (spec, values):
                    raise IdempotencyConflictError("the key belongs to another run")
                return known
            if len(self._runs) >= settings.runs_max:
                raise OverloadedError("too many pipelines run", limit=settings.runs_max)
            now = self._parts.vault.clock.now()
            deadline = now + timedelta(seconds=settings.run_s)
            run = Run(run_id, context, spec, values, now, deadline)
            await asyncio.to_thread(self._parts.journal.save, run, "", "started")
            self._runs[run_id] = run
        self.counters["runs_begun"] += 1
        self._drive(run_id)
        return run

    async def run(self, context: CallContext, run_id: str) -> Run:
        """Returns a run; see `PipelinesPort`."""
        await self.resume()
        tenant = context.principal.tenant
        found = self._runs.get(run_id) or self._parked.get(run_id)
        if found is None:
            found = await asyncio.to_thread(self._parts.journal.ended_run, tenant, run_id)
        if found is None or not await self._may_see(context, found):
            raise NotFoundError("there is no such run", run=run_id)
        return found

    async def runs(self, context: CallContext) -> list[Run]:
        """Returns the runs of the caller; see `PipelinesPort`."""
        await self.resume()
        tenant = context.principal.tenant
        ended = await asyncio.to_thread(self._parts.journal.ended, tenant)
        held = [*self._runs.values(), *self._parked.values()]
        going = [run for run in held if run.context.principal.tenant == tenant]
        ids = {run.id for run in going}
        known = [*going, *(run for run in ended if run.id not in ids)]
        seen = [run for run in known if await self._may_see(context, run)]
        return sorted(seen, key=lambda run: run.started, reverse=True)

    async def cancel(self, context: CallContext, run_id: str) -> Run:
        """Ends a run; see `PipelinesPort`."""
        run = await self.run(context, run_id)
        if run.state in ENDED:
            return run
        if run.state is not RunState.RUNNING:
            raise IllegalStateError("the run is committing already", state=run.state.value)
        task = self._tasks.pop(run_id, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        run = self._runs.get(run_id) or await self.run(context, run_id)
        if run.state is RunState.RUNNING:
            await self._end(run, RunState.CANCELLED)
        elif run.state not in ENDED:
            self._drive(run_id)
        return await self.run(context, run_id)

    async def keep(
        self, context: CallContext, namespace: str, spec: PipelineSpec
    ) -> StoredPipeline:
        """Stores a new version of a named pipeline; see `PipelinesPort`."""
        journal, now = self._parts.journal, self._parts.vault.clock.now()
        policy = await self._parts.vault.guard.ensure_for(context)
        policy.require_namespace(context, Action.CREATE, namespace, now)
        caller = context.principal
        version = await asyncio.to_thread(journal.last_version, caller.tenant, namespace, spec.name)
        stored = StoredPipeline(namespace, version + 1, caller.id, now, spec)
        await asyncio.to_thread(journal.keep, context, stored)
        return stored

    async def kept(self, context: CallContext, namespace: str) -> list[StoredPipeline]:
        """Returns the pipelines of a namespace; see `PipelinesPort`."""
        return newest(await self._stored(context, namespace))

    async def template(
        self, context: CallContext, namespace: str, name: str, version: int | None
    ) -> StoredPipeline:
        """Returns a version of a pipeline; see `PipelinesPort`."""
        found = [one for one in await self._stored(context, namespace) if one.spec.name == name]
        if version is not None:
            found = [one for one in found if one.version == version]
        if not found:
            raise NotFoundError("there is no such pipeline", pipeline=name, namespace=namespace)
        return newest(found)[0]

    async def check(self, context: CallContext, spec: PipelineSpec) -> list[str]:
        """Returns what a run would fail of; see `PipelinesPort`."""
        parts = self._parts
        policy = await parts.vault.guard.ensure_for(context)
        return obstacles(
            spec, context, policy, parts.vault.clock.now(), frozenset(parts.models), parts.hooks
        )

    async def counts(self) -> dict[str, int]:
        """Counts of runs and steps; see `PipelinesPort`."""
        now = {"runs_open": len(self._runs), "runs_parked": len(self._parked)}
        return {**self.counters, **now}

    async def close(self) -> None:
        """Stops; what is under way rests in its journal."""
        tasks = list(self._tasks.values())
        if self._resuming is not None:
            tasks.append(self._resuming)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._parts.vault.guard.close()

    async def _stored(self, context: CallContext, namespace: str) -> list[StoredPipeline]:
        policy = await self._parts.vault.guard.ensure_for(context)
        now = self._parts.vault.clock.now()
        # Being named on single memories is no admission: who reads what is shared there is let in.
        if not policy.decide(context, Action.READ, _SHARED, namespace, now).allowed:
            raise no_namespace(namespace)
        tenant = context.principal.tenant
        return await asyncio.to_thread(self._parts.journal.stored, tenant, namespace)

    async def _may_see(self, context: CallContext, run: Run) -> bool:
        owner, caller = run.context.principal, context.principal
        if owner.tenant != caller.tenant:
            return False
        if owner.id == caller.id:
            # What one role of a principal does is nothing to the others.
            return run.context.stream in ("", context.stream)
        policy = await self._parts.vault.guard.ensure_for(context)
        now = self._parts.vault.clock.now()
        return policy.may_administer(context, TENANT_ITSELF, now)

    async def _resume(self) -> None:
        for run in await asyncio.to_thread(self._parts.journal.open_runs):
            if run.state is RunState.PARKED:
                self._parked[run.id] = run
                continue
            self._runs[run.id] = run
            self.counters["runs_resumed"] += 1
            self._drive(run.id)

    def _drive(self, run_id: str) -> None:
        self._tasks[run_id] = asyncio.create_task(self._driven(run_id))

    async def _driven(self, run_id: str) -> None:
        """Moves a run until it has ended, or another runner has it."""
        while (run := self._runs.get(run_id)) is not None:
            try:
                await self._move(run)
            except VersionConflictError:
                _log.warning("another runner drives run %s", run_id)
                self._forget(run_id)
            except MemosError as error:
                # A shard or the store is away: the journal says where to go on.
                _log.warning("run %s waits: %s", run_id, error.code)
                self.counters["waits"] += 1
                await asyncio.sleep(_RETRY_S)
            except Exception as error:
                _log.error("run %s cannot go on: %s", run_id, describe_defect(error))
                self.counters["defects"] += 1
                await asyncio.sleep(_RETRY_S)

    async def _move(self, run: Run) -> None:
        match run.state:
            case RunState.RUNNING:
                await self._advance(run)
            case RunState.COMMITTING:
                await self._commit.commit(run)
            case RunState.COMPENSATING:
                await self._end(*await self._commit.compensate(run))
            case RunState.FOLLOWING:
                await self._end(*await self._commit.follow(run))
            case _:
                await self._end(run, run.state)

    async def _advance(self, run: Run) -> None:
        """Carries out the steps that may begin; behind the last one the run commits."""
        ready = run.ready()
        if not ready:
            await self._save(run.committed(), "", RunState.COMMITTING.value)
            return
        tasks = [asyncio.create_task(self._step(run, step)) for step in ready]
        try:
            failures = [error for error in await asyncio.gather(*tasks) if error is not None]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if failures:
            newest_run = self._runs[run.id]
            first = failures[0]
            failed = replace(newest_run, reason=first.code, message=first.message)
            await self._end(failed, RunState.FAILED)

    async def _step(self, run: Run, name: str) -> MemosError | None:
        """Tries one step as often as it says; saves what has become of it."""
        step = run.spec.step(name)
        attempt, problem = 0, None
        while True:
            attempt += 1
            try:
                record = await self._once(run, step)
                break
            except MemosError as error:
                if not error.retryable or attempt > step.retries:
                    problem = error
                    record = StepRecord(StepState.FAILED, error=error.code)
                    break
            await asyncio.sleep(pause_s(step.backoff_s, attempt))
        record = replace(record, attempts=attempt)
        self.counters[f"steps_{record.state.value}"] += 1
        self.counters["steps_retried"] += attempt - 1
        self.counters["steps_rewritten"] += record.rewritten
        async with self._locks.setdefault(run.id, asyncio.Lock()):
            current = self._runs[run.id].with_step(name, record)
            await self._saved(current, name, record.state.value, record)
        return problem

    async def _once(self, run: Run, step: Step) -> StepRecord:
        parts = self._parts
        left_s = (run.deadline - parts.vault.clock.now()).total_seconds()
        if left_s <= 0:
            raise IllegalStateError("the run has passed its deadline", step=step.id)
        work = StepWork(parts.vault, parts.models, parts.settings.context_bytes, run)
        try:
            async with asyncio.timeout(min(step.timeout_s, left_s)):
                return await work.perform(step)
        except TimeoutError:
            raise DeadlineExceededError("a step took too long", step=step.id) from None
        except MemosError:
            raise
        except Exception as error:
            _log.error("a step of run %s failed: %s", run.id, describe_defect(error))
            raise InternalError("a step failed", kind=type(error).__name__) from None

    async def _save(self, run: Run, part: str, state: str) -> None:
        async with self._locks.setdefault(run.id, asyncio.Lock()):
            await self._saved(run, part, state, None)

    async def _saved(self, run: Run, part: str, state: str, record: StepRecord | None) -> None:
        detail: dict[str, str | int | None] = {}
        if record is not None:
            detail = {
                "digest": record.digest,
                "attempts": record.attempts,
                "effects": len(record.effects),
                "error": record.error,
            }
        journal = self._parts.journal
        await self._durable(run, lambda: journal.save(run, part, state, **detail))

    async def _end(self, run: Run, state: RunState) -> None:
        over = run.over(state, self._parts.vault.clock.now())
        async with self._locks.setdefault(run.id, asyncio.Lock()):
            await self._durable(over, lambda: self._parts.journal.end(over))
        self.counters[f"runs_{state.value}"] += 1
        _log.info("run %s has ended: %s", run.id, state.value)
        self._forget(run.id)

    async def _durable(self, run: Run, save: Callable[[], None]) -> None:
        """Saves a run; whoever gives up waiting still leaves the journal and this in agreement."""
        saving = asyncio.create_task(asyncio.to_thread(save))
        try:
            await asyncio.shield(saving)
        finally:
            await asyncio.wait([saving])
            if saving.exception() is None:
                self._runs[run.id] = run

    def _forget(self, run_id: str) -> None:
        self._runs.pop(run_id, None)
        self._tasks.pop(run_id, None)
