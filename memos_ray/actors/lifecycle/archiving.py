"""Moves the content of archived memories to files, and erased memories out of them.

What a sweep archives is in a file before it is archived, so that a text that has but one version is
written no more than once; whatever else is archived follows behind.

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
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from hashlib import blake2b
from itertools import chain, takewhile
from typing import NamedTuple, TypeVar

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
from memos_ray.core.vault.operations import Written
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
_log = logging.getLogger(__name__)
T = TypeVar("T")
_GRACE_S = 3600.0
_AT_ONCE = 2048


Outcomes = list[Written | MemosError]
Stubs = Mapping[CubeKey, StoredVersion]
"""Versions without their content, which is in a file."""


class _File(NamedTuple):
    row: Derivation
    contents: Contents
    stubs: list[StoredVersion]


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
    by one at a time. Who is given up goes on, for another would take its file for interrupted.

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
        self._turn = asyncio.Lock()
        self._working = threading.Lock()
        self._tasks: set[asyncio.Task[Outcomes]] = set()
        self._stowed: deque[range] = deque()
        self._moved: set[CubeKey] = set()
        self.erasures = 0
        """How many entries of erasures have been consumed."""

    async def consume(self, events: Sequence[Event]) -> None:
        """Moves what the events archived, and removes what they erased."""
        done = [
            event
            for event in events
            if event.outcome is Outcome.DONE and event.cube_id and changes(event)
        ]
        last = events[-1].lsn if events else 0
        near = takewhile(lambda some: some.start <= last, self._stowed)
        held = frozenset(chain.from_iterable(near))
        left = (event for event in done if event.lsn not in held)
        away = [_key(event) for event in left if event.operation in _AWAY]
        gone = [_key(event) for event in done if event.operation == ERASE]
        self.erasures += len(gone)
        if not self._settled or away or gone:
            await self._run(lambda: self._carry(away, gone))
        self._leave(last)

    def passed(self, position: int) -> int:
        """Returns up to where it need not be given the log: it has heard of these commits."""
        self._leave(position)
        first = self._stowed[0] if self._settled and self._stowed else range(0)
        return first[-1] if position + 1 in first else position

    async def put_away(
        self,
        versions: Sequence[StoredVersion],
        erasures: int,
        move: Callable[[Stubs], Awaitable[Outcomes]],
    ) -> Outcomes:
        """Puts versions into files, and has their memories archived: `move` is given the stubs.

        It is given none when an erasure has been consumed since the versions were read, lest a file
        had again what is gone; nor when no file can be written. Then the content follows later.

        Args:
            versions: newest ones, each the first of its memory.
            erasures: how many had been consumed before they were read.
        """
        task = asyncio.create_task(self._put_away(versions, erasures, move))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def stowed(self, commit: Commit) -> None:
        """Hears of a commit that archives memories whose content is in files already."""
        for one in commit.moved:
            if one.payload is not None:
                self._moved.add(one.key)
                goes_on = self._stowed and self._stowed[-1].stop == one.lsn
                start = self._stowed.pop().start if goes_on else one.lsn
                self._stowed.append(range(start, one.lsn + 1))

    async def tidy(self) -> None:
        """Removes files that the owner before wrote when it had lost the partition already."""
        if self._awaited:
            await self._run(self._look_again)

    async def outdated(self) -> bool:
        """Files do not get lost apart from the blob store."""
        return False

    async def reset(self) -> None:
        """Nothing to empty."""

    def _leave(self, lsn: int) -> None:
        while self._stowed and self._stowed[0][-1] <= lsn:
            self._stowed.popleft()

    async def _run(self, work: Callable[[], None]) -> None:
        async with self._turn:
            await self._work(work)

    async def _work(self, work: Callable[[], T]) -> T:
        def alone() -> T:
            with self._working:
                return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, alone)
        finally:
            while self._damaged:
                self._on_damaged(self._damaged.pop())

    async def _put_away(
        self,
        versions: Sequence[StoredVersion],
        erasures: int,
        move: Callable[[Stubs], Awaitable[Outcomes]],
    ) -> Outcomes:
        async with self._turn:
            files: list[_File] = []
            if erasures == self.erasures:
                files = await self._tried(lambda: self._write_all(versions)) or []
            stubs = {_key_of(stub): stub for file in files for stub in file.stubs}
            self._moved.clear()
            try:
                return await move(stubs)
            finally:
                await self._tried(lambda: self._finish(files))

    async def _tried(self, work: Callable[[], T]) -> T | None:
        """Does a part of the work; what fails of it is made good by who consumes next."""
        try:
            return await self._work(work)
        except MemosError as error:
            self._settled = False
            _log.warning("putting texts into a file failed: %s", error.code)
            return None

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
        row, contents, stubs = self._write(versions)
        self._store.stow(self._partition, self._epoch, stubs)
        self._record(row, replace(contents, standing=Standing.DONE))

    def _write_all(self, versions: Sequence[StoredVersion]) -> list[_File]:
        return [self._write(some) for some in in_files(one for one in versions if one.movable)]

    def _finish(self, files: Sequence[_File]) -> None:
        """Settles files to which versions refer, if their memories have been archived."""
        for row, contents, stubs in files:
            if all(_key_of(stub) in self._moved for stub in stubs):
                self._record(row, replace(contents, standing=Standing.DONE))
            else:
                self._rewrite(replace(row, body=contents.to_bytes()))

    def _write(self, versions: Sequence[StoredVersion]) -> _File:
        layout = lay_out(versions)
        file = encode(layout.rows)
        digest = blake2b(file, digest_size=32).hexdigest()
        contents = Contents.of({one.id for one in versions})
        first = versions[0]
        row = Derivation(first.tenant, KIND, digest, first.namespace, digest, len(file), b"")
        self._record(row, contents)
        self._blobs().put(file)
        return _File(row, contents, layout.stubs(digest))

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
            # What was given up for lost may be committed still; it holds the fence that this takes.
            self._record(row, contents)
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


def _key_of(version: StoredVersion) -> CubeKey:
    return CubeKey(version.tenant, version.id)


def _key(event: Event) -> CubeKey:
    return CubeKey(event.tenant, event.cube_id or "")
