"""What models are proposed to learn, and what somebody has refused to have taught.

made ──▶ open ──accepted──▶ gone, a lesson has begun
          │ └───refused───▶ refused: nothing like it is proposed again
          ├─a memory changes, ends or is deleted──▶ gone
          └─it pays no longer, or another is better──▶ gone
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from memos_ray.actors.errands import Errands
from memos_ray.actors.parameter.adapters import gone_in
from memos_ray.actors.parameter.proposal_rows import KIND, Proposal, proposal_of, row_of
from memos_ray.actors.vault.residency import Place
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.lifecycle.states import GONE
from memos_ray.core.scheduling import alike, holds
from memos_ray.core.vault.log import Commit, CubeKey
from memos_ray.errors import NotOwnerError
from memos_ray.ports import RecordStorePort

_REFUSED_MOST = 64
_Key = tuple[Place, str]


class Proposals:
    """Keeps the proposals of a shard's partitions, at most one for a namespace and model.

    A row is written before a proposal is shown, and outlives the shard. One whose memories are not
    exactly as they were is never shown, whatever this process has missed: that is asked anew.
    A refusal knows no memory that is deleted.

    Attributes:
        counters: how many were made, accepted, refused, withdrawn and outdated.

    Concurrency: methods run on the actor's event loop; rows are written on `executor`, one after
    the other.
    """

    def __init__(
        self, *, store: RecordStorePort, executor: Executor, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._executor = executor
        self._now = now
        self.counters: Counter[str] = Counter()
        self._epochs: dict[int, int] = {}
        self._read: set[int] = set()
        self._open: dict[_Key, Proposal] = {}
        self._making: dict[_Key, Proposal] = {}
        self._refused: dict[_Key, list[Proposal]] = {}
        self._turn = asyncio.Lock()
        self._errands = Errands("a proposal")

    async def current(self, place: Place, model: str) -> Proposal | None:
        """Returns the proposal that there is, if its memories are as they were."""
        return next((one for one, _ in await self.found(place) if one.model == model), None)

    async def found(self, place: Place) -> list[tuple[Proposal, list[MemCube]]]:
        """Returns the proposals of a namespace, with their memories."""
        await self._ensure(place.partition)
        found = []
        for key, proposal in list(self._open.items()):
            if key[0] != place:
                continue
            heads = await self._heads(proposal)
            if self._holds(proposal, heads):
                found.append((proposal, heads))
            else:
                self.counters["proposals_outdated"] += 1
                await self._forget(proposal)
        return found

    def refuses(self, proposal: Proposal) -> bool:
        """Tells whether something like it has been refused."""
        refused = self._refused.get((proposal.place, proposal.model), ())
        return any(alike(one.fresh, proposal.fresh) for one in refused)

    async def make(self, proposal: Proposal) -> None:
        """Takes a proposal in, in place of the one that there was.

        Raises:
            NotOwnerError: another shard has the partition now.
        """
        key = (proposal.place, proposal.model)
        # So that what is deleted from now on takes it along.
        self._making[key] = proposal
        try:
            await self._save(proposal)
        finally:
            holds_still = self._making.pop(key, None) is proposal
        if not holds_still:
            await self._erase(proposal)
            return
        before = self._open.get(key)
        self._open[key] = proposal
        self.counters["proposals_made"] += 1
        if before is not None and before.report.id != proposal.report.id:
            await self._erase(before)

    async def withdraw(self, proposal: Proposal) -> None:
        """Lets go of a proposal that pays no longer."""
        self.counters["proposals_withdrawn"] += 1
        await self._forget(proposal)

    async def accept(self, proposal: Proposal) -> None:
        """Lets go of a proposal that has become a lesson."""
        self.counters["proposals_accepted"] += 1
        await self._forget(proposal)

    async def refuse(self, proposal: Proposal) -> None:
        """Has nothing like it proposed again; durably, when this returns.

        Raises:
            NotOwnerError: another shard has the partition now.
        """
        refused = replace(proposal, refused=True)
        await self._save(refused)
        self._remove(proposal)
        kept = self._refused.setdefault((proposal.place, proposal.model), [])
        kept.append(refused)
        self.counters["proposals_refused"] += 1
        for oldest in kept[: max(0, len(kept) - _REFUSED_MOST)]:
            kept.remove(oldest)
            await self._erase(oldest)

    def open(self, partition: int, epoch: int) -> None:
        """Takes over a partition's proposals."""
        self._epochs[partition] = epoch
        self._errands.leave(self._take_over(partition))

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns; the rows stay for the next owner."""
        self._epochs.pop(partition, None)
        self._read.discard(partition)
        for known in (self._open, self._making):
            for key in [key for key in known if key[0].partition == partition]:
                del known[key]
        for key in [key for key in self._refused if key[0].partition == partition]:
            del self._refused[key]

    def apply(self, commit: Commit) -> None:
        """Lets go of proposals about what a commit changes or deletes."""
        changed = commit.touched
        for proposal in _of(commit.partition, self._open.values()):
            if changed & _keys(proposal):
                self.counters["proposals_outdated"] += 1
                self._remove(proposal)
                self._errands.leave(self._erase(proposal))
        gone = gone_in(commit)
        for proposal in _of(commit.partition, self._making.values()):
            if changed & _keys(proposal):
                del self._making[proposal.place, proposal.model]
        for proposal in _of(commit.partition, chain(*self._refused.values())):
            if gone & _keys(proposal):
                self._errands.leave(self._shrink(proposal, gone))

    async def close(self) -> None:
        """Returns when what was to be erased is."""
        await self._errands.settle()

    def _holds(self, proposal: Proposal, heads: Sequence[MemCube]) -> bool:
        now = self._now()
        there = {(head.id, head.version.number) for head in heads if holds(head, now)}
        return all((one.cube_id, one.version) in there for one in proposal.sources)

    def _remove(self, proposal: Proposal) -> None:
        key = (proposal.place, proposal.model)
        if self._open.get(key) is proposal:
            del self._open[key]

    async def _forget(self, proposal: Proposal) -> None:
        self._remove(proposal)
        await self._erase(proposal)

    async def _shrink(self, refused: Proposal, gone: set[CubeKey]) -> None:
        """Takes what is deleted out of a refusal."""
        kept = self._refused.get((refused.place, refused.model), [])
        if refused not in kept:
            return
        tenant = refused.place.tenant
        left = tuple(
            one
            for one in refused.report.memories
            if CubeKey(tenant, one.source.cube_id) not in gone
        )
        kept.remove(refused)
        if left:
            smaller = replace(refused, report=replace(refused.report, memories=left))
            kept.append(smaller)
            await self._save(smaller)
        else:
            await self._erase(refused)

    async def _take_over(self, partition: int) -> None:
        await self._ensure(partition)
        for place in {key[0] for key in self._open if key[0].partition == partition}:
            await self.found(place)
        for proposal in _of(partition, chain(*self._refused.values())):
            heads = await self._heads(proposal)
            alive = [head for head in heads if head.state not in GONE]
            gone = _keys(proposal) - {CubeKey(head.tenant, head.id) for head in alive}
            if gone:
                await self._shrink(proposal, gone)

    async def _ensure(self, partition: int) -> None:
        """Reads the rows of a partition, once."""
        if partition in self._read:
            return
        rows = await self._run(self._store.derivations, partition, KIND)
        if partition in self._read or partition not in self._epochs:
            return
        self._read.add(partition)
        for row in rows:
            proposal = proposal_of(partition, row)
            key = (proposal.place, proposal.model)
            if proposal.refused:
                self._refused.setdefault(key, []).append(proposal)
            else:
                self._open[key] = proposal

    async def _heads(self, proposal: Proposal) -> list[MemCube]:
        keys = list(_keys(proposal))
        found = await self._run(self._store.heads, proposal.place.partition, keys)
        return list(found.values())

    async def _save(self, proposal: Proposal) -> None:
        partition = proposal.place.partition
        epoch = self._epochs.get(partition)
        if epoch is None:
            raise NotOwnerError("the partition is not here", partition=partition)
        async with self._turn:
            await self._run(self._store.save_derivation, partition, epoch, row_of(proposal))

    async def _erase(self, proposal: Proposal) -> None:
        place = proposal.place
        epoch = self._epochs.get(place.partition)
        if epoch is None:
            return
        async with self._turn:
            await self._run(
                self._store.forget_derivations,
                *(place.partition, epoch, place.tenant, KIND, [proposal.report.id]),
            )

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _of(partition: int, several: Iterable[Proposal]) -> list[Proposal]:
    return [one for one in several if one.place.partition == partition]


def _keys(proposal: Proposal) -> set[CubeKey]:
    tenant = proposal.place.tenant
    return {CubeKey(tenant, source.cube_id) for source in proposal.sources}
