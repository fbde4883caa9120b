"""Carries out what is due about something that was derived."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.submitting import SubmittingPort
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.extraction import away_again, closing
from memos_ray.core.lifecycle.moves import Cause, Move
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Age, Operation, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    IllegalStateError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    VersionConflictError,
)
from memos_ray.ports import RecordStorePort

EXTRACTION = "service:extraction"
"""Who the log says has had memories follow what they were extracted from."""

_REFUSED = (PermissionDeniedError, NotFoundError, IllegalStateError)


class Following:
    """Changes memories of one partition after their sources; what is archived stays so.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(
        self,
        partition: int,
        *,
        store: RecordStorePort,
        executor: Executor,
        submit: SubmittingPort,
        guard: PolicyGuard,
        counters: Counter[str],
    ) -> None:
        self._partition = partition
        self._store = store
        self._executor = executor
        self._submit = submit
        self._guard = guard
        self._counters = counters

    async def done(self, derived: MemCube, operation: Operation) -> bool:
        """Carries an operation out; tells whether nothing is left to do.

        What only marks or closes is a change with the owner's rights; where these do not suffice,
        what would stay too open is closed without.
        """
        own = CallContext(Principal(derived.tenant, EXTRACTION))
        context = own
        if not isinstance(operation, Age):
            # Nobody's call may have brought it yet.
            policy = await self._guard.ensure(derived.tenant)
            context = policy.acting(derived.governance.owner, derived.namespace)
        steps = [(context, operation)]
        again = away_again(derived, operation, await self._earlier(derived))
        if again is not None:
            steps.append((own, again))
        reason: str | None = Cause.LINEAGE.value
        if derived.state in GONE and isinstance(operation, Age) and operation.move is Move.CLOSE:
            # By the reason it is known why something is gone, whatever closes it then.
            reason = derived.version.reason
        outcome = await self._together(derived.namespace, steps, reason)
        if isinstance(outcome, Written):
            name = operation.move.value if isinstance(operation, Age) else "marked"
            self._counters[f"extraction_{name}"] += 1
            return True
        if isinstance(outcome, VersionConflictError):
            return False
        if isinstance(outcome, QuotaExceededError):
            # It stays deleted; whoever makes room may restore it.
            self._counters["extraction_unmarked"] += 1
            return True
        if isinstance(outcome, _REFUSED) and not isinstance(operation, Age):
            by_itself = closing(derived, operation)
            if by_itself is not None:
                return await self.done(derived, by_itself)
            self._counters["extraction_unmarked"] += 1
            return True
        raise outcome

    async def _together(
        self,
        namespace: str,
        steps: Sequence[tuple[CallContext, Operation]],
        reason: str | None,
    ) -> Written | MemosError:
        """Makes several changes of a memory, or none; returns the outcome of the first."""
        submissions = []
        for context, operation in steps:
            write = Write(namespace, operation, reason=reason)
            context = replace(context, application="extraction").aside()
            submissions.append(Submission(context, write))
        outcomes = await self._submit(submissions, whole=len(submissions) > 1)
        return next((one for one in outcomes if isinstance(one, MemosError)), outcomes[0])

    async def _earlier(self, derived: MemCube) -> MemCube | None:
        """Returns the version before, or before the memory was gone."""
        loop, key = asyncio.get_running_loop(), CubeKey(derived.tenant, derived.id)
        number = derived.version.number
        while (number := number - 1) > 0:
            place = self._partition, key, number
            before = await loop.run_in_executor(self._executor, self._store.version, *place)
            if before is None or before.state not in GONE:
                return before
        return None
