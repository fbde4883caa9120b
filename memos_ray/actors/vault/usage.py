"""Counts every read, and writes the counts and the access log in batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from memos_ray.core.access.context import CallContext
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.scheduling import AnsweredPrompt
from memos_ray.core.vault.log import ANSWER, CubeKey, Event, Outcome, UsageDelta

_NAMES_KEPT = 8
_IDS_LOGGED = 50


@dataclass(slots=True)
class _Count:
    count: int = 0
    cache_hits: int = 0
    usefulness: float = 0.0
    tasks: dict[str, None] = field(default_factory=dict)
    agents: dict[str, None] = field(default_factory=dict)


class UsageLedger:
    """What has been read since the last flush, per partition.

    A crash loses at most the reads of one flush interval; writes and their audit never pass here.
    """

    def __init__(self) -> None:
        self._counts: dict[int, dict[CubeKey, _Count]] = {}
        self._accesses: dict[int, list[Event]] = {}
        self._last_at: dict[int, datetime] = {}

    def read(
        self,
        partition: int,
        context: CallContext,
        operation: str,
        namespace: str,
        cubes: Iterable[MemCube],
        at: datetime,
        *,
        cached: frozenset[str] = frozenset(),
        detail: Mapping[str, str | int | float | bool | None] | None = None,
    ) -> None:
        """Notes that a call has been given memories.

        Args:
            cached: ids that came out of memory rather than from the store.
            detail: facts for the access log.
        """
        counts = self._counts.setdefault(partition, {})
        ids: list[str] = []
        only: MemCube | None = None
        for cube in cubes:
            only = None if ids else cube
            key = CubeKey(cube.tenant, cube.id)
            count = counts.get(key)
            if count is None:
                count = counts[key] = _Count()
            count.count += 1
            count.cache_hits += cube.id in cached
            count.agents[context.principal.id] = None
            if context.purpose:
                count.tasks[context.purpose] = None
            ids.append(cube.id)
        self._last_at[partition] = at
        facts = {**(detail or {}), "count": len(ids), "memories": " ".join(ids[:_IDS_LOGGED])}
        entry = access_event(context, operation, namespace, at, Outcome.DONE, facts)
        if only is not None:
            # An index finds it.
            entry = entry._replace(cube_id=only.id, version=only.version.number)
        self._accesses.setdefault(partition, []).append(entry)

    def used(
        self,
        partition: int,
        context: CallContext,
        operation: str,
        namespace: str,
        cube_id: str,
        at: datetime,
    ) -> None:
        """Notes the use of a memory that is not text, such as an adapter."""
        key = CubeKey(context.principal.tenant, cube_id)
        count = self._counts.setdefault(partition, {}).setdefault(key, _Count())
        count.count += 1
        count.agents[context.principal.id] = None
        if context.purpose:
            count.tasks[context.purpose] = None
        self._last_at[partition] = at
        entry = access_event(context, operation, namespace, at, Outcome.DONE, {"count": 1})
        self._accesses.setdefault(partition, []).append(entry._replace(cube_id=cube_id))

    def found(self, partition: int, key: CubeKey, useful: float, at: datetime) -> None:
        """Adds to what is known of a memory's usefulness."""
        counts = self._counts.setdefault(partition, {})
        counts.setdefault(key, _Count()).usefulness += useful
        self._last_at[partition] = at

    def noted(
        self,
        partition: int,
        context: CallContext,
        cube: MemCube,
        at: datetime,
        facts: Mapping[str, str | int | float | bool | None],
    ) -> None:
        """Notes that a caller has said something of a memory."""
        entry = access_event(context, "feedback", cube.namespace, at, Outcome.DONE, facts)
        about = entry._replace(cube_id=cube.id, version=cube.version.number)
        self._accesses.setdefault(partition, []).append(about)

    def answered(self, partition: int, answered: AnsweredPrompt, at: datetime) -> None:
        """Notes which memories a model was given for an answer, one entry each."""
        entries = self._accesses.setdefault(partition, [])
        for given in answered.given:
            facts: dict[str, str | int] = {
                "form": given.form,
                "tokens": given.tokens,
                "model": answered.model,
                "namespace": given.namespace,
                "request": answered.context.request_id,
            }
            entry = access_event(
                answered.context, ANSWER, answered.namespace, at, Outcome.DONE, facts
            )
            entries.append(
                entry._replace(
                    request_id=answered.response,
                    cube_id=given.cube_id,
                    version=given.version,
                )
            )

    def denied(
        self, partition: int, context: CallContext, operation: str, namespace: str, at: datetime
    ) -> None:
        """Notes that a call was refused."""
        self._accesses.setdefault(partition, []).append(
            access_event(context, operation, namespace, at, Outcome.DENIED, {})
        )

    def drain(self, partition: int) -> tuple[list[UsageDelta], list[Event]]:
        """Takes out what has gathered for a partition."""
        last_at = self._last_at.pop(partition, None)
        deltas = [
            UsageDelta(
                key,
                count.count,
                last_at,
                count.cache_hits,
                count.usefulness,
                tasks=tuple(count.tasks)[-_NAMES_KEPT:],
                agents=tuple(count.agents)[-_NAMES_KEPT:],
            )
            for key, count in self._counts.pop(partition, {}).items()
            if last_at is not None
        ]
        return deltas, self._accesses.pop(partition, [])


def access_event(
    context: CallContext,
    operation: str,
    namespace: str,
    at: datetime,
    outcome: Outcome,
    detail: Mapping[str, str | int | float | bool | None],
) -> Event:
    """Makes an entry for the access log."""
    principal = context.principal
    return Event(
        lsn=0,
        at=at,
        tenant=principal.tenant,
        namespace=namespace,
        principal=principal.id,
        operation=operation,
        outcome=outcome,
        purpose=context.purpose,
        role=context.role,
        application=context.application,
        credential=principal.credential,
        request_id=context.request_id,
        detail=detail,
    )
