"""Finds out which conversations and documents that were read are there still (GOV-9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from memos_ray.actors.vault.residency import Place
from memos_ray.actors.vault.salvaging import whole_or_remnants
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.predicate import Between, OneOf, Predicate, all_of
from memos_ray.core.extraction import SourceProgress, Totals
from memos_ray.core.vault.log import CubeKey
from memos_ray.ports import RecordStorePort

_PAGE = 256
_NEAR_US = 600 * 1_000_000


class SourceNames:
    """Looks for a memory of each source whose name is held.

    Each has a witness, a memory of it, so that the namespace is searched only when that is gone.
    What is stored with a witness is stored about when it was, and is looked at first.

    Concurrency: runs on the actor's event loop; the store is asked on `executor`.

    Complexity: what an owner has stored about when a document's witness was, once that is erased;
    all memories of the owner where there is nothing of the document, or nobody knows when.
    """

    def __init__(self, store: RecordStorePort, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        # When the witnesses were stored, by source and owner.
        self._when: dict[Place, dict[tuple[str, str], int]] = {}

    async def witnesses(
        self, place: Place, totals: Totals
    ) -> dict[tuple[str, str], tuple[str, str]]:
        """Returns by source and owner the witness that there was, and the one that there is.

        The latter is empty where every memory of the source was erased.
        """
        named = [one for one in totals.sources if one.source]
        keys = [CubeKey(place.tenant, one.witness) for one in named if one.witness]
        heads, _ = await self._run(whole_or_remnants, self._store, place.partition, keys)
        found, when = {}, {}
        for one in named:
            head = heads.get(CubeKey(place.tenant, one.witness))
            if head is None or head.namespace != place.namespace or not _of(head, one):
                head = await self._another(place, one)
            if head is not None:
                when[one.source, one.owner] = to_micros(head.descriptive.created_at)
            found[one.source, one.owner] = one.witness, "" if head is None else head.id
        self._when[place] = when
        return found

    async def _another(self, place: Place, one: SourceProgress) -> MemCube | None:
        owner = OneOf("owner", (one.owner,))
        spoken = all_of(OneOf("conversation", (one.source,)), owner)
        where = (place.partition, place.tenant, place.namespace)
        page = (spoken, None, 1, _overlooked)
        found: list[MemCube] = await self._run(self._store.scan, *where, *page)
        if found:
            return found[0]
        when = self._when.get(place, {}).get((one.source, one.owner))
        if when is not None:
            near = Between("created_at", when - _NEAR_US, when + _NEAR_US)
            head = await self._search(place, one, all_of(owner, near))
            if head is not None:
                return head
        return await self._search(place, one, owner)

    async def _search(self, place: Place, one: SourceProgress, among: Predicate) -> MemCube | None:
        where = (place.partition, place.tenant, place.namespace)
        after: tuple[int, str] | None = None
        while True:
            wanted = (among, after, _PAGE, _overlooked)
            page: list[MemCube] = await self._run(self._store.scan, *where, *wanted)
            for cube in page:
                if _of(cube, one):
                    return cube
            if len(page) < _PAGE:
                return None
            after = to_micros(page[-1].descriptive.created_at), page[-1].id

    async def _run(self, act: Callable[..., Any], *values: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, act, *values)


def _overlooked(_: CubeKey) -> None:
    """What cannot be read is no memory of a source, unless it is a witness, and holds nobody up."""


def _of(cube: MemCube, one: SourceProgress) -> bool:
    about = cube.descriptive
    named = about.setting.conversation or next((ref.uri for ref in about.sources if ref.uri), "")
    return named == one.source and cube.governance.owner == one.owner
