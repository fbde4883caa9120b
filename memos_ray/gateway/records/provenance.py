"""ProvenanceService: where memories came from and what was made of them, for all doors.

Ancestors are followed up and descendants down, not the relatives of either. The graph spans
partitions: each level down is a call to every partition, side by side, for what was made of a
memory may lie anywhere; a level up asks only where the memories are. The walk is bounded by its
depth and by the number of memories; a page is a window of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.policy import no_memory
from memos_ray.core.vault.lineage import Lineage, LineageAnswer, LineageRequest, UpLink
from memos_ray.errors import InvalidInputError
from memos_ray.gateway import paging
from memos_ray.gateway.callers import Authenticator, Caller
from memos_ray.gateway.placement import Placement
from memos_ray.gateway.records.provenance_models import (
    Direction,
    Made,
    Provenance,
    ProvenanceLink,
    ProvenanceNode,
)
from memos_ray.gateway.routing import Router
from memos_ray.ports import ClockPort

DEPTH_MAX = 16
_NODES_MAX = 1000
_AT_ONCE = 200

_Key = tuple[int, str]


@dataclass(slots=True)
class _Walk:
    """What a walk has met so far: memories by partition and id, the nearest first."""

    nodes: dict[_Key, ProvenanceNode] = field(default_factory=dict)
    links: dict[_Key, dict[ProvenanceLink, None]] = field(default_factory=dict)
    truncated: bool = False

    def meet(self, level: Mapping[_Key, Lineage], distance: int) -> dict[_Key, Lineage]:
        """Notes memories; returns those that are new, as far as there is room."""
        fresh = {key: node for key, node in level.items() if key not in self.nodes}
        room = _NODES_MAX - len(self.nodes)
        self.truncated |= len(fresh) > room
        fresh = dict(list(fresh.items())[:room])
        self.nodes |= {key: _shown(node, distance) for key, node in fresh.items()}
        return fresh

    def tie(self, key: _Key, link: UpLink) -> None:
        """Notes a link upwards."""
        self.links.setdefault(key, {})[_link(key, link)] = None

    def withhold(self, key: _Key, side: str) -> None:
        """Notes that there is more than may be seen."""
        self.nodes[key] = self.nodes[key].model_copy(update={side: True})


class ProvenanceService:
    """Follows lineage. Every method takes the `Caller`; errors are those of `MemoryService`."""

    def __init__(self, *, router: Router, authenticator: Authenticator, clock: ClockPort) -> None:
        self._router = router
        self._authenticator = authenticator
        self._placement = Placement(router, clock)

    async def provenance(
        self,
        caller: Caller,
        memory_id: str,
        namespace: str | None = None,
        *,
        direction: Direction = Direction.BOTH,
        depth: int = 3,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Provenance:
        """Returns a page of a memory's lineage.

        Raises:
            NotFoundError: there is no such memory for this caller.
            InvalidInputError: the depth is out of range.
        """
        if not 0 <= depth <= DEPTH_MAX:
            raise InvalidInputError("the depth is out of range", field="depth", most=DEPTH_MAX)
        context, _ = await self._authenticator.context(caller)
        query = paging.query_digest("provenance", memory_id, namespace, direction, depth)
        offset = paging.decode_cursor(cursor, query, paging.AfterHits).offset if cursor else 0
        hop = context.hop()

        async def find(partition: int) -> tuple[_Key, Lineage]:
            answer = await self._ask(partition, hop, [memory_id], down=False)
            if not answer.shown or namespace not in (None, answer.shown[0].namespace):
                raise no_memory()
            return (partition, memory_id), answer.shown[0]

        key, node = await self._placement.find(context, memory_id, namespace, find)
        walk = _Walk()
        walk.meet({key: node}, 0)
        if direction is not Direction.DOWN:
            await self._ascend(hop, walk, {key: node}, depth)
        if direction is not Direction.UP:
            await self._descend(hop, walk, {key: node}, depth)
        nearest = sorted(walk.nodes, key=lambda one: (walk.nodes[one].distance, one))
        keys = nearest[offset : offset + limit]
        following = None
        if offset + limit < len(nearest):
            following = paging.encode_cursor(query, paging.AfterHits(offset=offset + limit))
        return Provenance(
            id=memory_id,
            nodes=[walk.nodes[key] for key in keys],
            links=[link for key in keys for link in walk.links.get(key, {})],
            truncated=walk.truncated,
            cursor=following,
        )

    async def _ascend(
        self, context: CallContext, walk: _Walk, level: dict[_Key, Lineage], depth: int
    ) -> None:
        """Follows what memories were made of."""
        for distance in range(depth + 1):
            wanted = [
                (key[0], link.cube_id)
                for key, node in level.items()
                for link in node.up
                if link.cube_id is not None
            ]
            places = await self._places(context, wanted)
            above: dict[_Key, Lineage] = {}
            for key, node in level.items():
                for link in node.up:
                    place = places.get((key[0], link.cube_id or ""))
                    if link.cube_id is None:
                        walk.tie(key, link)
                    elif place is None:
                        walk.withhold(key, "withheld_up")
                    elif distance < depth or place[0] in walk.nodes:
                        walk.tie(key, link)
                        above[place[0]] = place[1]
                    else:
                        walk.truncated = True
            level = walk.meet(above, distance + 1)
            if not level:
                return

    async def _places(
        self, context: CallContext, wanted: list[tuple[int, str]]
    ) -> dict[tuple[int, str], tuple[_Key, Lineage]]:
        """Finds memories that the caller may see: in the partition of what names them, or where
        their ids say.
        """
        by_partition: dict[int, dict[str, None]] = {}
        for partition, cube_id in wanted:
            by_partition.setdefault(partition, {})[cube_id] = None
        found: dict[tuple[int, str], tuple[_Key, Lineage]] = {}
        away: dict[int, dict[str, list[int]]] = {}
        for partition, answer in (await self._ask_all(context, by_partition, down=False)).items():
            shown = {node.id: node for node in answer.shown}
            for cube_id in by_partition[partition]:
                if cube_id in shown:
                    found[partition, cube_id] = (partition, cube_id), shown[cube_id]
                elif cube_id not in answer.hidden:
                    named = await self._placement.named(cube_id)
                    if named is not None and named != partition:
                        away.setdefault(named, {}).setdefault(cube_id, []).append(partition)
        asked = {partition: dict.fromkeys(ids) for partition, ids in away.items()}
        for partition, answer in (await self._ask_all(context, asked, down=False)).items():
            for node in answer.shown:
                for namer in away[partition][node.id]:
                    found[namer, node.id] = (partition, node.id), node
        return found

    async def _descend(
        self, context: CallContext, walk: _Walk, level: dict[_Key, Lineage], depth: int
    ) -> None:
        """Follows what was made of memories."""
        ring = await self._router.ring()
        for distance in range(depth + 1):
            ids = dict.fromkeys(key[1] for key in level)
            everywhere = {partition: ids for partition in range(len(ring.owners))}
            answers = await self._ask_all(context, everywhere, down=True)
            made: dict[_Key, list[_Key]] = {}
            for key in level:
                for partition, answer in answers.items():
                    own = {one.id for one in answer.shown} | answer.hidden
                    if partition != key[0] and key[1] in own:
                        # It has another memory of this id, which is what is meant there.
                        continue
                    if key[1] in answer.withheld:
                        walk.withhold(key, "withheld_down")
                    for child in answer.down.get(key[1], ()):
                        made.setdefault((partition, child), []).append(key)
            if distance == depth and not made.keys() <= walk.nodes.keys():
                walk.truncated = True
                return
            below = await self._nodes(context, made)
            for one, node in below.items():
                parents = {parent[1] for parent in made[one]}
                for link in node.up:
                    if link.cube_id in parents:
                        walk.tie(one, link)
            level = walk.meet(below, distance + 1)
            if not level:
                return

    async def _nodes(
        self, context: CallContext, keys: Mapping[_Key, object]
    ) -> dict[_Key, Lineage]:
        by_partition: dict[int, dict[str, None]] = {}
        for partition, cube_id in keys:
            by_partition.setdefault(partition, {})[cube_id] = None
        answers = await self._ask_all(context, by_partition, down=False)
        return {
            (partition, node.id): node
            for partition, answer in answers.items()
            for node in answer.shown
        }

    async def _ask_all(
        self, context: CallContext, wanted: Mapping[int, Mapping[str, None]], *, down: bool
    ) -> dict[int, LineageAnswer]:
        """Asks partitions about memories, side by side."""
        answers = await asyncio.gather(
            *(self._ask(one, context, list(ids), down=down) for one, ids in wanted.items())
        )
        return dict(zip(wanted, answers, strict=True))

    async def _ask(
        self, partition: int, context: CallContext, ids: list[str], *, down: bool
    ) -> LineageAnswer:
        answers = [
            await self._asked(partition, LineageRequest(context, tuple(part), down))
            for part in (ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE))
        ]
        return LineageAnswer(
            tuple(one for answer in answers for one in answer.shown),
            frozenset(one for answer in answers for one in answer.hidden),
            {name: made for answer in answers for name, made in answer.down.items()},
            frozenset(one for answer in answers for one in answer.withheld),
        )

    async def _asked(self, partition: int, request: LineageRequest) -> LineageAnswer:
        return await self._router.call(
            partition, lambda shard, _: shard.lineage(partition, request)
        )


def _shown(node: Lineage, distance: int) -> ProvenanceNode:
    return ProvenanceNode(
        id=node.id,
        namespace=node.namespace,
        form=node.form,
        state=node.state,
        origin=node.origin,
        version=node.version,
        model=node.model,
        distance=distance,
        made=Made(**asdict(node.made)),
        last=None if node.last is None else Made(**asdict(node.last)),
    )


def _link(key: _Key, link: UpLink) -> ProvenanceLink:
    return ProvenanceLink(
        made=key[1],
        tie=link.tie,
        source=link.cube_id,
        version=link.version,
        uri=link.uri,
        item=link.item,
    )
