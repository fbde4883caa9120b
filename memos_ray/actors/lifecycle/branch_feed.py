"""Erases what branches hold, when they end or when what they have taken over is erased (GOV-9)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import orjson

from memos_ray.actors.lifecycle.branch_room import BranchRoom
from memos_ray.actors.vault.salvaging import whole_or_remnants
from memos_ray.actors.vault.writer import PartitionWriter
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.names import BRANCH_MARK
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.predicate import Everything
from memos_ray.core.lifecycle.branches import KIND, Branch
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.sweeping import LIFECYCLE
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Event, Outcome
from memos_ray.core.vault.operations import Age, Write
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import MemosError, StoreCorruptError
from memos_ray.ports import Derivation, RecordStorePort

_PIECE = 256
_log = logging.getLogger(__name__)


def concerns(commit: Commit) -> bool:
    """Tells whether a commit has anything that `BranchConsumer` acts on."""
    return bool(commit.erased)


class BranchConsumer:
    """Follows a partition's log: what is erased in a namespace goes from its branches as well.

    A branch that has ended is marked so before anything of it is erased; one whose end was
    interrupted is found by that mark, and ended.

    Concurrency: methods run on the actor's event loop; the store is asked on `executor`.

    Attributes:
        room: what the branches hold, and how much more they may.
    """

    def __init__(
        self,
        partition: int,
        epoch: int,
        *,
        store: RecordStorePort,
        writer: PartitionWriter,
        executor: Executor,
    ) -> None:
        self.room = BranchRoom(partition, store=store, executor=executor)
        self._partition = partition
        self._epoch = epoch
        self._store = store
        self._writer = writer
        self._executor = executor

    async def consume(self, events: Sequence[Event]) -> None:
        """Erases what was taken over from what the events have erased."""
        gone = [
            event
            for event in events
            if event.operation == ERASE
            and event.outcome is Outcome.DONE
            and BRANCH_MARK not in (event.cube_id or BRANCH_MARK)
        ]
        if not gone:
            return
        rows = await self.rows()
        keys = [
            CubeKey(tenant, branch.stored(event.cube_id or ""))
            for event in gone
            for tenant, branch in rows
            if (tenant, branch.namespace) == (event.tenant, event.namespace)
        ]
        heads, _ = await self._ask(whole_or_remnants, self._store, self._partition, keys)
        await self._erase(list(heads.values()))

    async def begin(self) -> int:
        """Returns from where on there may be something to erase.

        A branch that is yet to be made can take over nothing that is erased already.
        """
        last: int = await self._ask(self._store.last_lsn, self._partition)
        return 0 if await self.rows() else last

    async def outdated(self) -> bool:
        """Nothing is kept that could be lost."""
        return False

    async def reset(self) -> None:
        """Nothing to empty."""

    async def tidy(self) -> None:
        """Ends branches whose end was interrupted."""
        for tenant, branch in await self.rows():
            if branch.closing:
                try:
                    await self.end(tenant, branch)
                except StoreCorruptError as error:
                    # It is tried again; meanwhile neither other branches nor the sweep wait for it.
                    _log.error("a branch that has ended cannot be erased: %s", error.code)

    async def rows(self) -> list[tuple[str, Branch]]:
        """Returns all branches of the partition with their tenants."""
        found: list[Derivation] = await self._ask(self._store.derivations, self._partition, KIND)
        return [(row.tenant, _branch(row.body)) for row in found]

    async def save(self, tenant: str, branch: Branch) -> None:
        """Records a branch."""
        row = Derivation(
            tenant, KIND, branch.space, branch.namespace, "", 0, orjson.dumps(asdict(branch))
        )
        await self._ask(self._store.save_derivation, self._partition, self._epoch, row)

    async def intends(self, tenant: str, branch: Branch, reason: str | None) -> Branch:
        """Records with what reason a branch is being merged, before it is; nothing when it is not.

        A merge that was cut off behind its transaction and is asked for again has the reason of the
        first time: else it would be another request, which its own effects stand against.
        """
        if reason != branch.merge_reason:
            branch = replace(branch, merge_reason=reason)
            await self.save(tenant, branch)
        return branch

    async def end(self, tenant: str, branch: Branch) -> None:
        """Erases everything that a branch holds, and then the branch; done again, it goes on.

        It is marked as ending; whoever calls this has seen that nothing is written to it any more.
        """
        await self.save(tenant, replace(branch, closing=True))
        while True:
            # What cannot be read goes as well.
            damaged: list[CubeKey] = []
            place = self._partition, tenant, branch.space, Everything(), None, _PIECE
            cubes = await self._ask(self._store.scan, *place, damaged.append)
            left = await self._ask(self._store.remnants, self._partition, damaged)
            if not (cubes or left):
                break
            await self._erase([*cubes, *(one.cube for one in left.values())])
        forget = self._store.forget_derivations
        await self._ask(forget, self._partition, self._epoch, tenant, KIND, [branch.space])
        self.room.forget(tenant, branch)

    async def _erase(self, cubes: Sequence[MemCube]) -> None:
        by_tenant: dict[str, list[Submission]] = {}
        for cube in cubes:
            operation = Age(cube.id, Move.ERASE, Cause.BRANCH, cube.version.number)
            write = Write(cube.namespace, operation, reason=Cause.BRANCH.value)
            context = CallContext(Principal(cube.tenant, LIFECYCLE)).aside()
            by_tenant.setdefault(cube.tenant, []).append(Submission(context, write))
        for submissions in by_tenant.values():
            outcomes = await self._writer.submit(submissions)
            for outcome in outcomes:
                # One that has changed meanwhile is met again.
                if isinstance(outcome, MemosError):
                    raise outcome

    async def _ask(self, method: Callable[..., Any], *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *args)


def _branch(body: bytes) -> Branch:
    flat = orjson.loads(body)
    return Branch(**{**flat, "at": datetime.fromisoformat(flat["at"])})
