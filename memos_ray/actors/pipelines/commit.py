"""From the last step of a run to its end: commit, what follows, or compensation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import orjson

from memos_ray.actors.pipelines.vault import PipelineVault
from memos_ray.core.pipeline.effects import FollowUp, inverses
from memos_ray.core.pipeline.run import PartitionCommit, Run, RunState, pause_s
from memos_ray.errors import ClientError, MemosError
from memos_ray.ports import HookPort

Saving = Callable[[Run, str, str], Awaitable[None]]
"""Makes a run durable, with what the log is to say: a part of it and the state of that."""

_TRIES = 4
_BACKOFF_S = 0.5


@dataclass(frozen=True, slots=True)
class PipelineCommit:
    """Carries runs over the line.

    Every move is repeatable: writes carry idempotency keys, what follows carries ids that were
    minted before, and the journal is saved behind each of them.
    """

    vault: PipelineVault
    hooks: HookPort
    save: Saving

    async def commit(self, run: Run) -> Run:
        """Commits partition after partition; turns round when one refuses.

        Raises:
            ServerError: a shard or its store is away: nobody knows whether it has committed, so
                that the run neither goes on nor back.
        """
        for pending in [one for one in run.commits if not one.versions]:
            writes = [effect.write(run.id) for effect in run.effects_in(pending.partition)]
            try:
                written = await self.vault.commit(run.context, pending.partition, writes)
            except ClientError as error:
                run = replace(
                    run,
                    state=RunState.COMPENSATING,
                    reason=error.code,
                    message=error.message,
                )
                await self.save(run, f"partition {pending.partition}", "refused")
                return run
            done = replace(pending, versions=tuple(one.version for one in written))
            run = run.with_commit(done)
            await self.save(run, f"partition {pending.partition}", "committed")
        run = replace(run, state=RunState.FOLLOWING)
        await self.save(run, "", run.state.value)
        return run

    async def compensate(self, run: Run) -> tuple[Run, RunState]:
        """Undoes what was committed, last partition first; returns how the run ends.

        Raises:
            ServerError: a shard or its store is away.
        """
        stuck = False
        for commit in reversed([one for one in run.commits if one.versions and not one.undone]):
            try:
                await self._undo(run, commit)
            except ClientError as error:
                # Somebody has changed the memory since, or the caller's rights are gone: what is
                # there is left as it is, and said.
                stuck = True
                await self.save(run, f"partition {commit.partition}", f"kept: {error.code}")
                continue
            run = run.with_commit(replace(commit, undone=True))
            await self.save(run, f"partition {commit.partition}", "undone")
        return run, RunState.STUCK if stuck else RunState.FAILED

    async def _undo(self, run: Run, commit: PartitionCommit) -> None:
        effects = run.effects_in(commit.partition)
        writes = inverses(run.id, effects, commit.versions)
        await self.vault.commit(run.context, commit.partition, writes)

    async def follow(self, run: Run) -> tuple[Run, RunState]:
        """Converts, teaches and publishes; returns how the run ends."""
        state = RunState.DONE
        for step, follow in run.follow_ups():
            try:
                await self._tried(run, step, follow)
            except MemosError as error:
                state = RunState.INCOMPLETE
                record = replace(run.record(step), error=error.code)
                run = replace(run.with_step(step, record), reason=error.code, message=error.message)
            run = replace(run, followed=(*run.followed, step))
            await self.save(run, step, run.record(step).error or "followed")
        failed = any(run.record(step).error for step in run.followed)
        return run, RunState.INCOMPLETE if failed else state

    async def _tried(self, run: Run, step: str, follow: FollowUp) -> None:
        timeout_s = run.spec.step(step).timeout_s
        for attempt in range(1, _TRIES + 1):
            try:
                await self._once(run, step, follow, timeout_s)
                return
            except MemosError as error:
                if attempt == _TRIES or not error.retryable:
                    raise
            await asyncio.sleep(pause_s(_BACKOFF_S, attempt))

    async def _once(self, run: Run, step: str, follow: FollowUp, timeout_s: float) -> None:
        await self.vault.admit(run.context)
        where = (run.context, follow.namespace, follow.ids, follow.model, follow.minted_id)
        if follow.kind == "convert":
            await self.vault.convert(*where)
        elif follow.kind == "teach":
            await self.vault.teach(*where)
        else:
            message = {
                "run": run.id,
                "pipeline": run.spec.name,
                "step": step,
                "text": follow.text,
            }
            body = orjson.dumps(message)
            await self.hooks.post(follow.url, follow.minted_id, body, timeout_s)
