"""Finds out which conversations and documents that were read are there still (GOV-9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from memos_ray.actors.vault.residency import Place
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import OneOf, all_of
from memos_ray.core.extraction import SourceProgress, Totals
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import RecordStorePort

_PAGE = 256


class SourceNames:
    """Looks for a memory of each source whose name is held.

    Each has a witness, a memory of it, so that the namespace is searched only when that is gone.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.

    Complexity: the memories of an owner, for a document whose witness was erased.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor

    async def witnesses(
        self, place: Place, totals: Totals
    ) -> dict[tuple[str, str], tuple[str, str]]:
        """Returns by source and owner the witness that there was, and the one that there is.

        The latter is empty where every memory of the source was erased.
        """
        named = [one for one in totals.sources if one.source]
        keys = [CubeKey(place.tenant, one.witness) for one in named if one.witness]
        heads = await self._run(self._store.heads, place.partition, keys) if keys else {}
        found = {}
        for one in named:
            head = heads.get(CubeKey(place.tenant, one.witness))
            if head is None or head.namespace != place.namespace or not _of(head, one):
                head = await self._another(place, one)
            found[one.source, one.owner] = one.witness, "" if head is None else head.id
        return found

    async def _another(self, place: Place, one: SourceProgress) -> MemCube | None:
        owner = OneOf("owner", (one.owner,))
        spoken = all_of(OneOf("conversation", (one.source,)), owner)
        where = (place.partition, place.tenant, place.namespace)
        found: list[MemCube] = await self._run(self._store.scan, *where, spoken, None, 1)
        after: tuple[int, str] | None = None
        while not found:
            page: list[MemCube] = await self._run(self._store.scan, *where, owner, after, _PAGE)
            found = [cube for cube in page if _of(cube, one)][:1]
            if len(page) < _PAGE:
                break
            after = to_micros(page[-1].descriptive.created_at), page[-1].id
        return found[0] if found else None

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _of(cube: MemCube, one: SourceProgress) -> bool:
    about = cube.descriptive
    named = about.setting.conversation or next((ref.uri for ref in about.sources if ref.uri), "")
    return named == one.source and cube.governance.owner == one.owner
