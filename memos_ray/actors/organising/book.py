"""The proposals of a shard's partitions, in memory and as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any

from memos_ray.actors.vault.residency import Place
from memos_ray.core.organising import Proposal, Proposed
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import IllegalStateError, NotOwnerError
from memos_ray.ports import Derivation, RecordStorePort

PROPOSAL, MODE = "organising_proposal", "organising"
_MOST_OPEN = 1000


class OrganisingBook:
    """What has been proposed where, and where it is done at once.

    A row says which memories are concerned and never what they say. Rows are read when a partition
    is first asked about, and go with the memories that they are about.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._epochs: dict[int, int] = {}
        self._held: dict[int, dict[tuple[str, str], Proposal]] = {}
        self._about: dict[int, dict[CubeKey, set[tuple[str, str]]]] = {}
        self._modes: dict[int, dict[tuple[str, str], str]] = {}
        self._loading = asyncio.Lock()

    def open(self, partition: int, epoch: int) -> None:
        """Begins to serve a partition."""
        self._epochs[partition] = epoch

    def drop(self, partition: int) -> None:
        """Forgets a partition that this shard no longer owns."""
        for held in (self._epochs, self._held, self._about, self._modes):
            held.pop(partition, None)

    async def of(self, place: Place) -> list[Proposal]:
        """Returns the open proposals of a namespace, the surest first."""
        held = await self._rows(place.partition)
        found = [one for one in held.values() if _is_at(one, place) and one.state is Proposed.OPEN]
        return sorted(found, key=lambda one: (-one.confidence, one.found_at, one.id))

    async def get(self, place: Place, id: str) -> Proposal | None:
        """Returns a proposal of a namespace, whatever has become of it."""
        found = (await self._rows(place.partition)).get((place.tenant, id))
        return found if found is not None and _is_at(found, place) else None

    async def add(self, place: Place, proposal: Proposal) -> bool:
        """Keeps a new proposal; tells whether it is one, and there is room."""
        held = await self._rows(place.partition)
        if (proposal.tenant, proposal.id) in held or len(await self.of(place)) >= _MOST_OPEN:
            return False
        await self.put(place, proposal)
        return True

    async def put(self, place: Place, proposal: Proposal) -> None:
        """Writes a proposal down."""
        held, about = await self._rows(place.partition), self._about[place.partition]
        row = _row(proposal.tenant, PROPOSAL, proposal.id, place.namespace, proposal.to_bytes())
        await self._run(
            self._store.save_derivation, place.partition, self.epoch(place.partition), row
        )
        held[proposal.tenant, proposal.id] = proposal
        _note(about, proposal)

    async def forget(self, partition: int, keys: Iterable[CubeKey]) -> None:
        """Removes everything about memories that are gone."""
        gone = set(keys)
        if not gone:
            return
        held, about = await self._rows(partition), self._about[partition]
        for key in gone & about.keys():
            for tenant, id in sorted(about.get(key, ())):
                await self._run(
                    self._store.forget_derivations,
                    *(partition, self.epoch(partition), tenant, PROPOSAL, [id]),
                )
                one = held.pop((tenant, id), None)
                for other in _keys(one) if one is not None else ():
                    about.get(other, set()).discard((tenant, id))
            about.pop(key, None)

    async def automatic(self, place: Place) -> str | None:
        """Returns who has what is sure done at once in a namespace, if anybody."""
        await self._rows(place.partition)
        return self._modes[place.partition].get((place.tenant, place.namespace))

    async def automate(self, place: Place, principal: str | None) -> None:
        """Has what is sure done at once, with the rights of a principal, or by nobody any more."""
        await self._rows(place.partition)
        partition, epoch = place.partition, self.epoch(place.partition)
        where = (place.tenant, place.namespace)
        if principal is None:
            names = [place.namespace]
            await self._run(
                self._store.forget_derivations, partition, epoch, place.tenant, MODE, names
            )
            self._modes[partition].pop(where, None)
            return
        row = _row(place.tenant, MODE, place.namespace, place.namespace, principal.encode())
        await self._run(self._store.save_derivation, partition, epoch, row)
        self._modes[partition][where] = principal

    async def _rows(self, partition: int) -> dict[tuple[str, str], Proposal]:
        async with self._loading:
            if partition not in self._held:
                self.epoch(partition)
                made = await self._run(self._store.derivations, partition, PROPOSAL)
                modes = await self._run(self._store.derivations, partition, MODE)
                self.epoch(partition)
                self._held[partition] = {
                    (row.tenant, row.name): Proposal.from_bytes(
                        row.name, row.tenant, row.namespace, row.body
                    )
                    for row in made
                }
                about = self._about[partition] = {}
                for one in self._held[partition].values():
                    _note(about, one)
                self._modes[partition] = {
                    (row.tenant, row.namespace): row.body.decode() for row in modes
                }
            return self._held[partition]

    def epoch(self, partition: int) -> int:
        """Returns the epoch that a partition is held under.

        Raises:
            NotOwnerError: it is not.
        """
        if partition not in self._epochs:
            raise NotOwnerError("the partition has moved", partition=partition)
        return self._epochs[partition]

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def settled(proposal: Proposal) -> IllegalStateError:
    """The error for deciding again."""
    return IllegalStateError("this has been decided", proposal=proposal.id, state=proposal.state)


def _note(about: dict[CubeKey, set[tuple[str, str]]], one: Proposal) -> None:
    for key in _keys(one):
        about.setdefault(key, set()).add((one.tenant, one.id))


def _keys(one: Proposal) -> tuple[CubeKey, CubeKey]:
    return CubeKey(one.tenant, one.older), CubeKey(one.tenant, one.newer)


def _is_at(proposal: Proposal, place: Place) -> bool:
    return (proposal.tenant, proposal.namespace) == (place.tenant, place.namespace)


def _row(tenant: str, kind: str, name: str, namespace: str, body: bytes) -> Derivation:
    return Derivation(tenant, kind, name, namespace, "", 0, body)
