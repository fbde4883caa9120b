"""What a shard is asked about what-if branches: to read, write, compare, merge and end them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from weakref import WeakValueDictionary

from memos_ray.actors.lifecycle.past import PastDoors
from memos_ray.actors.vault.partition import OwnedPartition
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.names import BRANCH_MARK, base_of
from memos_ray.core.access.policy import no_memory
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import facets_of
from memos_ray.core.cube.predicate import Predicate, evaluate
from memos_ray.core.lifecycle.branches import (
    Branch,
    BranchPage,
    BranchView,
    Merged,
    covers,
    differing,
    shown,
    taken_over,
)
from memos_ray.core.lifecycle.past import Differing, PastPage, there_at
from memos_ray.core.lifecycle.states import GONE, state_at
from memos_ray.core.vault.branching import key_of_merge, merging, written
from memos_ray.core.vault.log import CubeKey
from memos_ray.core.vault.operations import Create, Delete, Write, Written
from memos_ray.core.vault.planning import Submission
from memos_ray.errors import (
    AlreadyExistsError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    StoreCorruptError,
)

_COUNTED = {"branch": "made", "merge_branch": "merged", "discard_branch": "discarded"}


class BranchDoors(PastDoors, ABC):
    """The part of `ports.ShardPort` that is about branches; a shard is the rest.

    Policy is that of the namespace, as it is today. Versions of memories that have been erased
    since are nowhere shown, whether they have been erased as well already or not.
    """

    @cached_property
    def _branching(self) -> WeakValueDictionary[tuple[str, str], asyncio.Lock]:
        # Of the calls under way: whoever asks for a branch may call it anything.
        return WeakValueDictionary()

    @abstractmethod
    async def _submit(
        self, partition: int, submissions: Sequence[Submission], *, whole: bool = False
    ) -> list[Written | MemosError]:
        """Commits writes."""

    async def branches(self, partition: int, context: CallContext, namespace: str) -> list[Branch]:
        """Lists the branches of a namespace; see `ShardPort`."""
        owned = await self._serve(partition)
        await self._require_reader(context, namespace)
        place = context.principal.tenant, namespace
        rows = await owned.branches.rows()
        found = [one for tenant, one in rows if (tenant, one.namespace) == place]
        return sorted((one for one in found if not one.closing), key=lambda one: (one.at, one.name))

    async def create_branch(
        self,
        partition: int,
        context: CallContext,
        namespace: str,
        name: str,
        at: datetime | None,
        reason: str | None,
    ) -> Branch:
        """Makes a branch; see `ShardPort`."""
        owned = await self._serve(partition)
        await self._admitted(context, Action.CREATE, namespace)
        now, tenant = self._parts.clock.now(), context.principal.tenant
        if at is not None and at > now:
            raise InvalidInputError("the moment has not come yet", field="at")
        lsn = await self._ask(self._parts.store.last_lsn, partition)
        made = Branch(name, namespace, at or now, lsn, context.principal.id, reason)
        async with self._alone(tenant, made.space):
            rows = await owned.branches.rows()
            if any((whose, one.space) == (tenant, made.space) for whose, one in rows):
                raise AlreadyExistsError("the branch's name is taken", name=name)
            await owned.branches.save(tenant, made)
        self._told(partition, context, "branch", made)
        return made

    async def branch_view(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> BranchView:
        """Says how a branch covers its namespace; see `ShardPort`."""
        owned, branch = await self._branch(partition, context, namespace, name)
        visible = await self._admitted(context, Action.READ, namespace)
        cubes, there, damaged = await self._own(owned, context, branch)
        covered, orphans = covers(cubes, there)
        hidden = {cube.id for cube in cubes if not _seen(visible, cube, there)}
        # What cannot be read does not let through what it stands for.
        covered |= damaged
        return BranchView(branch, tuple(sorted(covered)), tuple(sorted(orphans | hidden)))

    async def branch_get(
        self, partition: int, context: CallContext, namespace: str, name: str, cube_id: str
    ) -> MemCube:
        """Returns a memory as a branch shows it; see `ShardPort`."""
        _, branch = await self._branch(partition, context, namespace, name)
        tenant = context.principal.tenant
        stored, base = CubeKey(tenant, branch.stored(cube_id)), CubeKey(tenant, cube_id)
        heads = await self._ask(self._parts.store.heads, partition, [stored, base])
        cube = heads.get(stored)
        if cube is None or (taken_over(cube) and base not in heads):
            if base in heads and heads[base].namespace != namespace:
                raise no_memory()
            return await self.past_get(partition, context, cube_id, branch.at)
        policy, now = await self._guard.ensure_for(context), self._parts.clock.now()
        for one in (cube, heads[base]) if taken_over(cube) else (cube,):
            policy.require(context, Action.READ, facets_of(one), one.namespace, now)
        if state_at(cube, now) in GONE:
            raise no_memory()
        self._usage.read(partition, context, "get", cube.namespace, [cube], now)
        return shown(cube)

    async def branch_page(self, partition: int, request: BranchPage) -> list[MemCube]:
        """Returns a page of what a branch shows; see `ShardPort`."""
        context, namespace = request.context, request.namespace
        owned, branch = await self._branch(partition, context, namespace, request.branch)
        now = self._parts.clock.now()
        visible = await self._admitted(context, Action.READ, namespace)
        # Read once: what is erased behind a first reading is no orphan to a second one.
        held, there, damaged = await self._own(owned, context, branch)
        covered, orphans = covers(held, there)
        covered |= damaged
        page = PastPage(
            context,
            namespace,
            branch.at,
            predicate=request.predicate,
            after=request.after,
            limit=request.limit,
        )
        own = [
            shown(cube)
            for cube in held
            if cube.id not in orphans
            and _seen(visible, cube, there)
            and state_at(cube, now) not in GONE
        ]
        found: list[MemCube] = await self._ask(
            self._page, partition, page, visible, frozenset(covered), own
        )
        self._usage.read(partition, context, "list", branch.space, found, now)
        return found

    async def branch_write(
        self, partition: int, namespace: str, name: str, submissions: Sequence[Submission]
    ) -> list[Written | MemosError]:
        """Commits writes in a branch; see `ShardPort`."""
        context = submissions[0].context
        tenant = context.principal.tenant
        async with self._alone(tenant, _space(namespace, name)):
            owned, branch = await self._branch(partition, context, namespace, name)
            wanted = [replace(one, write=written(branch, one.write)) for one in submissions]
            ids = [one.write.operation.cube_id for one in wanted]
            full = await owned.branches.room.refused(tenant, branch, ids)
            closed = await self._closed(partition, namespace, submissions)
            errors = [one or other for one, other in zip(closed, full, strict=True)]
            admitted = [one for one, error in zip(wanted, errors, strict=True) if error is None]
            done = iter(await self._submit(partition, admitted) if admitted else [])
        outcomes = [next(done) if error is None else error for error in errors]
        return [
            replace(one, cube_id=base_of(one.cube_id)) if isinstance(one, Written) else one
            for one in outcomes
        ]

    async def branch_differences(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> list[Differing]:
        """Compares a branch with its moment; see `ShardPort`."""
        owned, branch = await self._branch(partition, context, namespace, name)
        now = self._parts.clock.now()
        visible = await self._admitted(context, Action.READ, namespace)
        held, there, _ = await self._own(owned, context, branch)
        cubes = [cube for cube in held if _seen(visible, cube, there)]
        _, orphans = covers(cubes, there)
        kept = [cube for cube in cubes if cube.id not in orphans]
        then = await self._then(partition, context, branch, kept)
        found = (differing(cube, then.get(cube.id), now) for cube in kept)
        return sorted((one for one in found if one is not None), key=lambda one: one.id)

    async def merge_branch(
        self, partition: int, context: CallContext, namespace: str, name: str, reason: str | None
    ) -> Merged:
        """Brings a branch's changes into the namespace, all or none; see `ShardPort`."""
        tenant = context.principal.tenant
        async with self._alone(tenant, _space(namespace, name)):
            owned, branch = await self._branch(partition, context, namespace, name)
            now = self._parts.clock.now()
            visible = await self._admitted(context, Action.READ, namespace)
            cubes, there, damaged = await self._own(owned, context, branch)
            if not all(_readable(visible, cube) for cube in cubes):
                raise PermissionDeniedError("the branch holds what you may not read", name=name)
            if damaged:
                # Whoever discards the branch instead ends it without them.
                code = StoreCorruptError.code
                return Merged(conflicts=tuple((cube_id, code) for cube_id in sorted(damaged)))
            _, orphans = covers(cubes, there)
            kept = [cube for cube in cubes if cube.id not in orphans]
            then = await self._then(partition, context, branch, kept)
            begun = branch.merge_reason is not None
            why = branch.merge_reason or reason or f"merge of branch {name}"
            branch = await owned.branches.intends(tenant, branch, why)
            submissions = [
                Submission(context, Write(namespace, operation, key_of_merge(branch, cube), why))
                for cube in kept
                if (operation := merging(cube, then.get(cube.id), now)) is not None
            ]
            outcomes = await self._submit(partition, submissions, whole=True)
            ids = [one.write.operation.cube_id for one in submissions]
            refused = _refused(ids, outcomes)
            if refused:
                if not begun:
                    # Nothing of it was merged; the next try has a reason of its own.
                    await owned.branches.intends(tenant, branch, None)
                return Merged(conflicts=refused)
            await owned.branches.end(tenant, branch)
        self._told(partition, context, "merge_branch", branch)
        return Merged(changed=tuple(sorted(ids)))

    async def discard_branch(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> Branch:
        """Ends a branch without a trace in the namespace; see `ShardPort`."""
        tenant = context.principal.tenant
        async with self._alone(tenant, _space(namespace, name)):
            owned, branch = await self._branch(partition, context, namespace, name)
            policy, now = await self._guard.ensure_for(context), self._parts.clock.now()
            own = branch.author == context.principal.id
            if not own and not policy.may_administer(context, namespace, now):
                raise PermissionDeniedError("the branch is another's", name=name)
            await owned.branches.end(tenant, branch)
        self._told(partition, context, "discard_branch", branch)
        return branch

    def _alone(self, tenant: str, space: str) -> asyncio.Lock:
        return self._branching.setdefault((tenant, space), asyncio.Lock())

    async def _branch(
        self, partition: int, context: CallContext, namespace: str, name: str
    ) -> tuple[OwnedPartition, Branch]:
        owned = await self._serve(partition)
        for branch in await self.branches(partition, context, namespace):
            if branch.name == name:
                return owned, branch
        raise NotFoundError("there is no such branch", name=name)

    async def _closed(
        self, partition: int, namespace: str, submissions: Sequence[Submission]
    ) -> list[MemosError | None]:
        """Returns for each write why it may not be made today to what the branch has taken over."""
        found: list[MemosError | None] = []
        now = self._parts.clock.now()
        for one in submissions:
            operation = one.write.operation
            key = CubeKey(one.context.principal.tenant, operation.cube_id)
            action = Action.DELETE if isinstance(operation, Delete) else Action.UPDATE
            heads = {}
            if not isinstance(operation, Create):
                heads = await self._ask(self._parts.store.heads, partition, [key])
            policy = await self._guard.ensure_for(one.context)
            try:
                for head in heads.values():
                    facets = facets_of(head)
                    # Whether it is over is for the branch's own version to say.
                    facets.pop("expires_at", None)
                    policy.require(one.context, action, facets, namespace, now)
                found.append(None)
            except (NotFoundError, PermissionDeniedError) as error:
                found.append(error)
        return found

    async def _own(
        self, owned: OwnedPartition, context: CallContext, branch: Branch
    ) -> tuple[list[MemCube], dict[str, MemCube], set[str]]:
        """Returns what a branch holds, what it was taken over from, and what cannot be read."""
        damaged: list[CubeKey] = []
        tenant = context.principal.tenant
        cubes = await owned.branches.room.all(tenant, branch, damaged.append)
        keys = [CubeKey(cube.tenant, base_of(cube.id)) for cube in cubes if taken_over(cube)]
        heads = await self._ask(self._parts.store.heads, owned.number, keys) if keys else {}
        there = {key.id: head for key, head in heads.items()}
        return cubes, there, {base_of(key.id) for key in damaged}

    async def _then(
        self, partition: int, context: CallContext, branch: Branch, cubes: Sequence[MemCube]
    ) -> dict[str, MemCube]:
        """Returns the versions that a branch has taken over, by its own stored ids."""
        forks = [cube for cube in cubes if taken_over(cube)]
        keys = {CubeKey(cube.tenant, base_of(cube.id)): cube.id for cube in forks}
        chains = await self._ask(self._parts.store.histories, partition, list(keys))
        found: dict[str, MemCube] = {}
        for key, cube_id in keys.items():
            then = there_at(chains.get(key, []), branch.at)
            if then is not None:
                number = then.version.number
                found[cube_id] = await self._ask(self._parts.store.version, partition, key, number)
        return found

    def _told(self, partition: int, context: CallContext, verb: str, branch: Branch) -> None:
        now = self._parts.clock.now()
        self._counters[f"branches_{_COUNTED[verb]}"] += 1
        detail: dict[str, str | int | float | bool | None] = {
            "name": branch.name,
            "lsn": branch.lsn,
        }
        self._usage.read(partition, context, verb, branch.namespace, [], now, detail=detail)


def _space(namespace: str, name: str) -> str:
    return f"{namespace}{BRANCH_MARK}{name}"


def _seen(visible: Predicate, cube: MemCube, there: Mapping[str, MemCube]) -> bool:
    """Tells whether a memory of a branch may be seen, by its rules and those of its origin."""
    origin = there.get(base_of(cube.id)) if taken_over(cube) else None
    return all(evaluate(visible, facets_of(one)) for one in (cube, origin) if one is not None)


def _readable(visible: Predicate, cube: MemCube) -> bool:
    """Tells whether a memory may be read, or might until it expired."""
    facets = facets_of(cube)
    facets.pop("expires_at", None)
    return evaluate(visible, facets)


def _refused(
    ids: Sequence[str], outcomes: Sequence[Written | MemosError]
) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for cube_id, outcome in zip(ids, outcomes, strict=True):
        if isinstance(outcome, ServerError):
            # Nobody knows what holds; asked again, it finds what is merged already.
            raise outcome
        if isinstance(outcome, MemosError):
            found[cube_id] = outcome.code
    return tuple(sorted(found.items()))
