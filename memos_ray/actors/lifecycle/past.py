"""What a shard is asked about earlier moments of its memories, and the way back to them."""

from __future__ import annotations

import asyncio
import heapq
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any

import orjson

from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.actors.vault.shard_parts import ShardParts
from memos_ray.actors.vault.usage import UsageLedger
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.policy import no_memory, no_namespace
from memos_ray.core.cube.cube import MemCube, VersionInfo
from memos_ray.core.cube.facets import facets_of, to_micros
from memos_ray.core.cube.predicate import Predicate, evaluate
from memos_ray.core.lifecycle.past import (
    SNAPSHOT,
    Differences,
    PastPage,
    Return,
    Returned,
    Snapshot,
    compare,
    there_at,
    way_back,
)
from memos_ray.core.lifecycle.states import GONE, state_at
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import (
    Archive,
    Delete,
    Operation,
    Restore,
    Rollback,
    Write,
    Written,
)
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    AlreadyExistsError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from memos_ray.ports import Derivation

_VERSIONS = 256
_SEPARATOR = "\x1f"


class PastDoors(ABC):
    """The part of `ports.ShardPort` that is about the past; a shard is the rest.

    Content is as it was; who may see it, and act on it, is decided by the rules of today.
    """

    _parts: ShardParts
    _guard: PolicyGuard
    _usage: UsageLedger
    _counters: Counter[str]
    _executor: Executor

    @cached_property
    def _naming(self) -> asyncio.Lock:
        return asyncio.Lock()

    @abstractmethod
    async def _serve(self, partition: int) -> OwnedPartition:
        """Returns a partition that this shard owns."""

    @abstractmethod
    async def write(
        self, partition: int, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes."""

    async def past_get(
        self, partition: int, context: CallContext, cube_id: str, at: datetime
    ) -> MemCube:
        """Returns a memory as it was; see `ShardPort`."""
        await self._serve(partition)
        policy = await self._guard.ensure_for(context)
        store, key = self._parts.store, CubeKey(context.principal.tenant, cube_id)
        head = (await self._ask(store.heads, partition, [key])).get(key)
        if head is None:
            raise no_memory()
        now = self._parts.clock.now()
        policy.require(context, Action.READ, facets_of(head), head.namespace, now)
        number = await self._ask(self._number_at, partition, key, head, at)
        then = await self._ask(store.version, partition, key, number) if number else None
        if then is None or there_at([then], at) is None:
            raise NotFoundError("the memory was not there at that moment", cube_id=cube_id)
        self._usage.read(partition, context, "past", head.namespace, [then], now)
        found: MemCube = then
        return found

    async def past_page(self, partition: int, request: PastPage) -> list[MemCube]:
        """Returns a page of a namespace as it was; see `ShardPort`."""
        await self._serve(partition)
        visible = await self._visible(request, Action.READ)
        cubes: list[MemCube] = await self._ask(self._page, partition, request, visible)
        now = self._parts.clock.now()
        self._usage.read(partition, request.context, "past", request.namespace, cubes, now)
        return cubes

    async def past_differences(self, partition: int, request: PastPage) -> Differences:
        """Compares two moments of a namespace; see `ShardPort`."""
        await self._serve(partition)
        visible = await self._visible(request, Action.READ)
        since, until = request.since or request.at, request.at
        heads, after = await self._heads(partition, request, visible)
        chains = await self._chains(partition, heads)
        found = (compare(chains[_key(head)], since, until) for head in heads)
        return Differences(tuple(one for one in found if one is not None), after)

    async def go_back(self, partition: int, request: PastPage) -> Returned:
        """Takes some memories of a namespace back to a moment; see `ShardPort`."""
        await self._serve(partition)
        visible = await self._visible(request, Action.UPDATE)
        heads, after = await self._heads(partition, request, visible)
        now = self._parts.clock.now()
        ways = await self._ask(self._ways, partition, heads, request.at, now)
        writes = [(head, way, one) for head, way in ways for one in _operations(head, way)]
        outcomes = await self.write(
            partition,
            [
                Submission(request.context, Write(request.namespace, one, reason=request.reason))
                for _, _, one in writes
            ],
        )
        refused: dict[str, str] = {}
        for (head, _, _), outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, UnavailableError):
                raise outcome
            if isinstance(outcome, MemosError):
                refused.setdefault(head.id, outcome.code)
        went = [(head, way) for head, way in ways if head.id not in refused]
        made = [way for _, way in went]
        back = [head for head, way in went if not way.delete and state_at(head, now) in GONE]
        return Returned(
            changed=sum(not way.delete for way in made) - len(back),
            restored=len(back),
            deleted=sum(way.delete for way in made),
            refused=tuple(sorted(refused.items())),
            after=after,
        )

    async def snapshots(
        self, partition: int, context: CallContext, namespace: str
    ) -> list[Snapshot]:
        """Lists the named moments of a namespace; see `ShardPort`."""
        await self._serve(partition)
        await self._require_reader(context, namespace)
        return await self._named(partition, context, namespace)

    async def take_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Snapshot:
        """Names this moment; see `ShardPort`."""
        owned = await self._serve(partition)
        await self._admitted(context, Action.CREATE, namespace)
        # Of two that want one name at once, the second finds it taken.
        async with self._naming:
            if any(one.name == name for one in await self._named(partition, context, namespace)):
                raise AlreadyExistsError("the snapshot's name is taken", name=name)
            now = self._parts.clock.now()
            lsn = await self._ask(self._parts.store.last_lsn, partition)
            made = Snapshot(name, namespace, now, lsn, context.principal.id, reason)
            row = Derivation(
                context.principal.tenant,
                SNAPSHOT,
                f"{namespace}{_SEPARATOR}{name}",
                namespace,
                "",
                0,
                orjson.dumps(asdict(made)),
            )
            await self._ask(self._parts.store.save_derivation, partition, owned.epoch, row)
        self._usage.read(
            partition, context, "snapshot", namespace, [], now, detail={"name": name, "lsn": lsn}
        )
        return made

    async def forget_snapshot(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Snapshot:
        """Forgets a name; see `ShardPort`."""
        owned = await self._serve(partition)
        await self._require_reader(context, namespace)
        found = [
            one for one in await self._named(partition, context, namespace) if one.name == name
        ]
        if not found:
            raise NotFoundError("there is no such snapshot", name=name)
        now = self._parts.clock.now()
        policy = await self._guard.ensure_for(context)
        own = found[0].author == context.principal.id
        if not own and not policy.may_administer(context, namespace, now):
            raise PermissionDeniedError("the snapshot is another's", name=name)
        names = [f"{namespace}{_SEPARATOR}{name}"]
        forget = self._parts.store.forget_derivations
        await self._ask(forget, partition, owned.epoch, context.principal.tenant, SNAPSHOT, names)
        self._usage.read(
            partition, context, "forget_snapshot", namespace, [], now, detail={"name": name}
        )
        return found[0]

    async def _require_reader(self, context: CallContext, namespace: str) -> None:
        """Lets those pass who are admitted; to be named in a memory does not suffice."""
        policy = await self._guard.ensure_for(context)
        if namespace not in policy.visible_namespaces(context, self._parts.clock.now()):
            raise no_namespace(namespace)

    async def _admitted(self, context: CallContext, action: Action, namespace: str) -> Predicate:
        policy = await self._guard.ensure_for(context)
        return policy.require_namespace(context, action, namespace, self._parts.clock.now())

    async def _visible(self, request: PastPage, action: Action) -> Predicate:
        if request.at > self._parts.clock.now():
            raise InvalidInputError("the moment has not come yet", field="at")
        return await self._admitted(request.context, action, request.namespace)

    async def _named(self, partition: int, context: CallContext, namespace: str) -> list[Snapshot]:
        rows: list[Derivation] = await self._ask(self._parts.store.derivations, partition, SNAPSHOT)
        place = context.principal.tenant, namespace
        found = [_snapshot(row.body) for row in rows if (row.tenant, row.namespace) == place]
        return sorted(found, key=lambda one: (one.at, one.name))

    async def _heads(
        self, partition: int, request: PastPage, visible: Predicate
    ) -> tuple[list[MemCube], tuple[int, str] | None]:
        heads: list[MemCube] = await self._ask(
            self._parts.store.scan,
            partition,
            request.context.principal.tenant,
            request.namespace,
            visible,
            request.after,
            request.limit,
        )
        more = len(heads) == request.limit
        return heads, _place(heads[-1]) if more else None

    async def _chains(
        self, partition: int, heads: Sequence[MemCube]
    ) -> dict[CubeKey, list[MemCube]]:
        keys = [_key(head) for head in heads]
        found: dict[CubeKey, list[MemCube]] = await self._ask(
            self._parts.store.histories, partition, keys
        )
        return {key: found.get(key, []) for key in keys}

    def _page(
        self,
        partition: int,
        request: PastPage,
        visible: Predicate,
        covered: frozenset[str] = frozenset(),
        instead: Sequence[MemCube] = (),
    ) -> list[MemCube]:
        """Reads through the namespace as it was, and keeps one page: memory is bounded by it.

        Args:
            covered: ids of memories that are left out.
            instead: what is there in their place, if anything.
        """
        store, tenant = self._parts.store, request.context.principal.tenant
        found: list[tuple[tuple[int, str], MemCube]] = []

        def keep(cube: MemCube) -> None:
            into = heapq.heappush if len(found) < request.limit else heapq.heappushpop
            into(found, (_place(cube), cube))

        for cube in instead:
            if _before(cube, request) and evaluate(request.predicate, facets_of(cube)):
                keep(cube)
        rows = store.as_of(partition, tenant, request.namespace, request.at, "")
        while batch := list(islice(rows, _VERSIONS)):
            wanted = [c for c, _ in batch if c.id not in covered and _wanted(c, request)]
            heads = store.heads(partition, [_key(cube) for cube in wanted])
            for cube in wanted:
                head = heads.get(_key(cube))
                if head is None or not evaluate(visible, facets_of(head)):
                    continue
                keep(cube)
        return [cube for _, cube in sorted(found, reverse=True)]

    def _number_at(self, partition: int, key: CubeKey, head: MemCube, at: datetime) -> int | None:
        before = head.version.number + 1
        while before > 1:
            page: list[VersionInfo] = self._parts.store.versions(partition, key, before, _VERSIONS)
            for info in page:
                if info.created_at <= at:
                    return info.number
            if not page:
                break
            before = page[-1].number
        return None

    def _ways(
        self, partition: int, heads: Sequence[MemCube], at: datetime, now: datetime
    ) -> list[tuple[MemCube, Return]]:
        store = self._parts.store
        chains = store.histories(partition, [_key(head) for head in heads])
        found: list[tuple[MemCube, Return]] = []
        for head in heads:
            then = there_at(chains.get(_key(head), []), at)
            if then is not None and then.version.number != head.version.number:
                # The history shows no content that is archived; the version itself does.
                then = store.version(partition, _key(head), then.version.number)
            way = way_back(head, then, now)
            if way is not None:
                found.append((head, way))
        return found

    async def _ask(self, method: Callable[..., Any], *args: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *args)


def _wanted(cube: MemCube, request: PastPage) -> bool:
    if not _before(cube, request):
        return False
    there = there_at([cube], request.at) is not None
    return there and evaluate(request.predicate, facets_of(cube))


def _before(cube: MemCube, request: PastPage) -> bool:
    return request.after is None or _place(cube) < request.after


def _operations(head: MemCube, way: Return) -> list[Operation]:
    if way.delete:
        return [Delete(head.id, expected=head.version.number)]
    steps: list[Operation] = []
    if way.archive:
        return [Archive(head.id, head.version.number)]
    if way.restore is not None:
        steps.append(Restore(head.id, head.version.number, way.restore))
    if way.to is not None:
        number = head.version.number + len(steps)
        steps.append(Rollback(head.id, way.to, number, with_state=True))
    return steps


def _snapshot(body: bytes) -> Snapshot:
    flat = orjson.loads(body)
    return Snapshot(**{**flat, "at": datetime.fromisoformat(flat["at"])})


def _key(cube: MemCube) -> CubeKey:
    return CubeKey(cube.tenant, cube.id)


def _place(cube: MemCube) -> tuple[int, str]:
    return to_micros(cube.descriptive.created_at), cube.id
