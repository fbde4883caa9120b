"""Moves the content of archived memories to files, and erased memories out of them.

A file is recorded before it is written, and versions refer to it after that, so that at any line
the content is in one place or in both, and no file is forgotten:

    recorded as pending ─▶ written ─▶ versions refer to it ─▶ recorded as done

What was interrupted is seen by its record when the partition is opened the next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from hashlib import blake2b

from memos_ray.core.cube.cube import Change, MemCube, State
from memos_ray.core.cube.decoding import decode
from memos_ray.core.cube.payload import ArchivedRef
from memos_ray.core.lifecycle.archive import (
    KIND,
    Contents,
    bodies,
    encode,
    filled,
    in_files,
    movable,
    stub,
)
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Event, Outcome
from memos_ray.errors import NotFoundError
from memos_ray.ports import BlobStorePort, Derivation, RecordStorePort

# A memory may be frozen while it is put away, which makes a version that has its content again.
_AWAY = frozenset((Change.ARCHIVE.value, Change.FREEZE.value, Change.UNFREEZE.value))


def concerns(commit: Commit) -> bool:
    """Tells whether a commit has anything that `ArchiveConsumer` acts on."""
    return any(event.operation in _AWAY or event.operation == ERASE for event in commit.events)


class ArchiveConsumer:
    """Follows a partition's log: archivings and erasures."""

    def __init__(
        self,
        partition: int,
        epoch: int,
        *,
        store: RecordStorePort,
        blobs: Callable[[], BlobStorePort],
        executor: Executor,
    ) -> None:
        self._partition = partition
        self._epoch = epoch
        self._store = store
        self._blobs = blobs
        self._executor = executor
        self._settled = False

    async def consume(self, events: Sequence[Event]) -> None:
        """Moves what the events archived, and removes what they erased."""
        done = [event for event in events if event.outcome is Outcome.DONE and event.cube_id]
        away = [_key(event) for event in done if event.operation in _AWAY]
        gone = [_key(event) for event in done if event.operation == ERASE]
        if not self._settled or away or gone:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, self._carry, away, gone)

    async def outdated(self) -> bool:
        """Files do not get lost apart from the blob store."""
        return False

    async def reset(self) -> None:
        """Nothing to empty."""

    def _carry(self, away: Sequence[CubeKey], gone: Sequence[CubeKey]) -> None:
        if not self._settled:
            for row in self._store.derivations(self._partition, KIND):
                if Contents.from_bytes(row.body).pending:
                    self._rewrite(row)
            self._settled = True
        self._move(away)
        self._remove(gone)

    def _move(self, keys: Sequence[CubeKey]) -> None:
        heads = self._store.heads(self._partition, list(dict.fromkeys(keys)))
        archived = [key for key, head in heads.items() if head.state is State.ARCHIVED]
        chains = self._store.histories(self._partition, archived)
        versions = (cube for key in archived for cube in chains.get(key, ()) if movable(cube))
        for cubes in in_files(versions):
            self._lay_down(cubes)

    def _remove(self, keys: Sequence[CubeKey]) -> None:
        ids: dict[str, list[str]] = {}
        for key in keys:
            ids.setdefault(key.tenant, []).append(key.id)
        for row in self._store.derivations(self._partition, KIND) if ids else ():
            if Contents.from_bytes(row.body).may_hold(ids.get(row.tenant, ())):
                self._rewrite(row)

    def _lay_down(self, cubes: Sequence[MemCube]) -> None:
        """Writes one file of whole versions, and has the versions refer to it."""
        file = encode(cubes)
        digest = blake2b(file, digest_size=32).hexdigest()
        contents = Contents.of(cubes, pending=True)
        first = cubes[0]
        row = Derivation(
            first.tenant, KIND, digest, first.namespace, digest, len(file), contents.to_bytes()
        )
        self._store.save_derivation(self._partition, self._epoch, row)
        self._blobs().put(file)
        stubs = [stub(cube, digest, place) for place, cube in enumerate(cubes)]
        self._store.stow(self._partition, self._epoch, stubs)
        done = replace(contents, pending=False)
        self._store.save_derivation(
            self._partition, self._epoch, replace(row, body=done.to_bytes())
        )

    def _rewrite(self, row: Derivation) -> None:
        """Makes a file anew of the versions that refer to it; of none, it goes."""
        try:
            held = bodies(self._blobs().get(row.blob))
        except NotFoundError:
            # It was recorded, but never written.
            held = []
        kept = self._referring(row, held)
        if kept and len(kept) == len(held):
            contents = replace(Contents.from_bytes(row.body), pending=False)
            self._store.save_derivation(
                self._partition, self._epoch, replace(row, body=contents.to_bytes())
            )
            return
        if kept:
            self._lay_down(kept)
        self._blobs().delete(row.blob)
        self._store.forget_derivations(self._partition, self._epoch, row.tenant, KIND, [row.name])

    def _referring(self, row: Derivation, held: Sequence[bytes]) -> list[MemCube]:
        """Returns the versions whose content is in this file and nowhere else, with it."""
        # Ids are in the file alone; what is not a reference to it has its content elsewhere.
        keys = [CubeKey(row.tenant, cube_id) for cube_id in _ids(held)]
        kept: list[MemCube] = []
        for chain in self._store.histories(self._partition, keys).values():
            for cube in chain:
                place = cube.payload
                if isinstance(place, ArchivedRef) and place.blob == row.blob:
                    kept.append(filled(cube, held[place.row]))
        return kept


def _key(event: Event) -> CubeKey:
    return CubeKey(event.tenant, event.cube_id or "")


def _ids(held: Sequence[bytes]) -> list[str]:
    return list(dict.fromkeys(decode(body).id for body in held))
