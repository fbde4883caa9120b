"""The book of begun lessons: what outlives the shard that teaches them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from memos_ray.actors.parameter.lesson_rows import KIND, LessonRecord, lesson_of, row_of
from memos_ray.errors import NotOwnerError
from memos_ray.ports import RecordStorePort


class LessonBook:
    """Rows of lessons in the partitions that this shard owns.

    Concurrency: methods run on the actor's event loop; rows are written on `executor`.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self._epochs: dict[int, int] = {}

    def open(self, partition: int, epoch: int) -> None:
        """Takes over a partition."""
        self._epochs[partition] = epoch

    def drop(self, partition: int) -> None:
        """Leaves a partition to its next owner."""
        self._epochs.pop(partition, None)

    async def read(self, partition: int) -> list[LessonRecord]:
        """Returns the lessons of a partition."""
        rows = await self._run(self._store.derivations, partition, KIND)
        return [lesson_of(partition, row) for row in rows]

    async def write(self, lesson: LessonRecord) -> None:
        """Remembers a lesson as it is now.

        Raises:
            NotOwnerError: another shard has the partition now.
        """
        epoch = self._epoch(lesson.place.partition)
        await self._run(self._store.save_derivation, lesson.place.partition, epoch, row_of(lesson))

    async def forget(self, lesson: LessonRecord) -> None:
        """Forgets a lesson; raises as `write`."""
        place = lesson.place
        await self._run(
            self._store.forget_derivations,
            place.partition,
            self._epoch(place.partition),
            place.tenant,
            KIND,
            [lesson.request.minted_id],
        )

    def _epoch(self, partition: int) -> int:
        epoch = self._epochs.get(partition)
        if epoch is None:
            raise NotOwnerError("the partition is not here", partition=partition)
        return epoch

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)
