"""Moves the content of archived memories to files, and erased memories out of them.

A file is recorded before it is written, and versions refer to it after that, so that at any line
the content is in one place or in both, and no file is forgotten:

    pending ─▶ written ─▶ versions refer to it ─▶ done ─▶ leaving ─▶ gone

A file is leaving when a new one holds what is left of it, without what has been erased. One that
cannot be read is damaged: it is set aside, and nothing waits for it. One that a new owner has not
found is awaited for as long as the owner before may still write it.

What was interrupted is seen by its record when the partition is opened the next time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from hashlib import blake2b

from memos_ray.core.cube.cube import Change, State
from memos_ray.core.lifecycle.archive import (
    KIND,
    Contents,
    Standing,
    StoredVersion,
    bodies,
    encode,
    ids_in,
    in_files,
    lay_out,
)
from memos_ray.core.lifecycle.sweeping import LIFECYCLE
from memos_ray.core.vault.entries import changes
from memos_ray.core.vault.log import ERASE, Commit, CubeKey, Event, Outcome
from memos_ray.errors import MemosError, NotFoundError, StoreCorruptError
from memos_ray.ports import BlobStorePort, ClockPort, Derivation, RecordStorePort

# A memory may be frozen or held while it is put away, or come back to being away, which makes a
# version that has its content again.
_AWAY = frozenset(
    change.value
    for change in (
        Change.ARCHIVE,
        Change.FREEZE,
        Change.UNFREEZE,
        Change.HOLD,
        Change.RELEASE,
        Change.RESTORE,
        Change.ROLLBACK,
    )
)
_GRACE_S = 3600.0
_AT_ONCE = 2048


def concerns(commit: Commit) -> bool:
    """Tells whether a commit has anything that `ArchiveConsumer` should act on soon.

    What a sweep puts away waits for the rest of it: few large files cost less than many small.
    """
    return any(
        event.operation == ERASE or (event.operation in _AWAY and event.principal != LIFECYCLE)
        for event in commit.events
    )


class ArchiveConsumer:
    """Follows a partition's log: archivings and erasures.

    Concurrency: methods run on the actor's event loop; files are read and written on `executor`,
    by one at a time.

    Args:
        on_damaged: hears of a file that is set aside.
    """

    def __init__(
        self,
        partition: int,
        epoch: int,
        *,
        store: RecordStorePort,
        blobs: Callable[[], BlobStorePort],
        clock: ClockPort,
        executor: Executor,
        on_damaged: Callable[[MemosError], None],
    ) -> None:
        self._partition = partition
        self._epoch = epoch
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._executor = executor
        self._on_damaged = on_damaged
        self._settled = False
        self._awaited: dict[str, float] = {}
        self._damaged: list[StoreCorruptError] = []
        self._working = threading.Lock()

    async def consume(self, events: Sequence[Event]) -> None:
        """Moves what the events archived, and removes what they erased."""
        done = [
            event
            for event in events
            if event.outcome is Outcome.DONE and event.cube_id and changes(event)
        ]
        away = [_key(event) for event in done if event.operation in _AWAY]
        gone = [_key(event) for event in done if event.operation == ERASE]
        if not self._settled or away or gone:
            await self._run(lambda: self._carry(away, gone))

    async def tidy(self) -> None:
        """Removes files that the owner before wrote when it had lost the partition already."""
        if self._awaited:
            await self._run(self._look_again)

    async def outdated(self) -> bool:
        """Files do not get lost apart from the blob store."""
        return False

    async def reset(self) -> None:
        """Nothing to empty."""

    async def _run(self, work: Callable[[], None]) -> None:
        def alone() -> None:
            with self._working:
                work()

        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, alone)
        finally:
            while self._damaged:
                self._on_damaged(self._damaged.pop())

    def _carry(self, away: Sequence[CubeKey], gone: Sequence[CubeKey]) -> None:
        if not self._settled:
            for row in self._store.derivations(self._partition, KIND):
                if Contents.from_bytes(row.body).standing is not Standing.DONE:
                    self._rewrite(row)
            self._settled = True
        keys = list(dict.fromkeys(away))
        for start in range(0, len(keys), _AT_ONCE):
            self._move(keys[start : start + _AT_ONCE])
        self._remove(gone)

    def _move(self, keys: Sequence[CubeKey]) -> None:
        held = self._store.bodies(self._partition, keys, State.ARCHIVED)
        for versions in in_files(one for one in held if one.movable):
            self._lay_down(versions)

    def _remove(self, keys: Sequence[CubeKey]) -> None:
        ids: dict[str, list[str]] = {}
        for key in keys:
            ids.setdefault(key.tenant, []).append(key.id)
        for row in self._store.derivations(self._partition, KIND) if ids else ():
            if Contents.from_bytes(row.body).may_hold(ids.get(row.tenant, ())):
                self._rewrite(row, ids[row.tenant])

    def _lay_down(self, versions: Sequence[StoredVersion]) -> None:
        """Writes one file of whole versions, and has the versions refer to it."""
        layout = lay_out(versions)
        file = encode(layout.rows)
        digest = blake2b(file, digest_size=32).hexdigest()
        contents = Contents.of({one.id for one in versions})
        first = versions[0]
        row = Derivation(first.tenant, KIND, digest, first.namespace, digest, len(file), b"")
        self._record(row, contents)
        self._blobs().put(file)
        self._store.stow(self._partition, self._epoch, layout.stubs(digest))
        self._record(row, replace(contents, standing=Standing.DONE))

    def _rewrite(self, row: Derivation, erased: Sequence[str] = ()) -> None:
        """Makes a file anew of the versions that refer to it; of none, it goes.

        One that cannot be read is set aside, so that the others are not held up.
        """
        contents = Contents.from_bytes(row.body)
        try:
            try:
                held = bodies(self._blobs().get(row.blob))
            except NotFoundError:
                if contents.standing in (Standing.DONE, Standing.DAMAGED):
                    raise StoreCorruptError("an archive file is lost") from None
                if contents.pending:
                    self._awaited.setdefault(row.name, self._clock.monotonic())
                else:
                    self._forget(row)
                return
            kept, rows = self._referring(row, held)
        except StoreCorruptError as error:
            self._set_aside(row, contents.without(erased), error, goes=bool(erased))
            return
        if kept and len(rows) == len(held):
            self._record(row, replace(contents, standing=Standing.DONE))
            return
        if kept:
            self._lay_down(kept)
        self._record(row, replace(contents, standing=Standing.LEAVING))
        self._blobs().delete(row.blob)
        self._forget(row)

    def _referring(
        self, row: Derivation, held: Sequence[bytes]
    ) -> tuple[list[StoredVersion], set[int]]:
        """Returns the versions whose content is in this file and nowhere else, with it.

        Also returns the rows of the file that hold it.
        """
        # Ids are in the file alone; what is not a reference to it has its content elsewhere.
        keys = [CubeKey(row.tenant, cube_id) for cube_id in ids_in(held)]
        kept: list[StoredVersion] = []
        rows: set[int] = set()
        for one in self._store.bodies(self._partition, keys):
            try:
                place = one.row_in(row.blob)
            except StoreCorruptError:
                # It is damaged where it rests, and not for that reason lost from the file.
                place = one.among(held)
                if place is not None:
                    kept.append(one.of(held[place]))
            else:
                if place is not None and place >= len(held):
                    raise StoreCorruptError("an archive file is too short")
                if place is not None:
                    kept.append(one.filled(held[place]))
            if place is not None:
                rows.add(place)
        return kept, rows

    def _set_aside(
        self, row: Derivation, contents: Contents, error: StoreCorruptError, *, goes: bool
    ) -> None:
        """Goes on without a file that cannot be read.

        Args:
            goes: whether it may hold what has been erased, which outweighs what could be saved.
        """
        if goes:
            self._blobs().delete(row.blob)
        if contents.marks:
            self._record(row, replace(contents, standing=Standing.DAMAGED))
        else:
            self._forget(row)
        self._damaged.append(
            StoreCorruptError(f"{error.message}; it is set aside: {row.blob}", digest=row.blob)
        )

    def _look_again(self) -> None:
        rows = {row.name: row for row in self._store.derivations(self._partition, KIND)}
        for name, since in list(self._awaited.items()):
            row = rows.get(name)
            if row is not None and Contents.from_bytes(row.body).pending:
                # Found now, it is referred to by none, and goes.
                self._awaited.pop(name)
                self._rewrite(row)
                if name not in self._awaited:
                    continue
                self._awaited[name] = since
                if self._clock.monotonic() - since < _GRACE_S:
                    continue
                self._forget(row)
            del self._awaited[name]

    def _record(self, row: Derivation, contents: Contents) -> None:
        row = replace(row, body=contents.to_bytes())
        self._store.save_derivation(self._partition, self._epoch, row)

    def _forget(self, row: Derivation) -> None:
        self._store.forget_derivations(self._partition, self._epoch, row.tenant, KIND, [row.name])


def _key(event: Event) -> CubeKey:
    return CubeKey(event.tenant, event.cube_id or "")
