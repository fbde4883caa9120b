"""Relations between memories, as somebody may walk them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import MemCube


class Relation(StrEnum):
    """What another memory is to the one that was asked about.

    `SHARES`: it has uncommon words in common. `BEFORE`, `AFTER`: it stands beside it in its
    session, or tells of the same names at another time. `OVERTAKEN_BY`, `OVERTAKES`: a newer fact
    has ended an older one. `DEPENDS_ON`: the other is among its sources, or a version of it among
    its parents. `NEEDED_BY`: the other way round.
    """

    SHARES = "shares"
    BEFORE = "before"
    AFTER = "after"
    OVERTAKEN_BY = "overtaken_by"
    OVERTAKES = "overtakes"
    DEPENDS_ON = "depends_on"
    NEEDED_BY = "needed_by"


@crossing
@dataclass(frozen=True, slots=True)
class Link:
    """One relation.

    Attributes:
        why: for people; it quotes words that both have.
        steps: how many relations of this kind lie in between, one at least.
    """

    relation: Relation
    id: str
    why: str
    steps: int = 1


@crossing
@dataclass(frozen=True, slots=True)
class Related:
    """A memory, and one that it has to do with."""

    link: Link
    cube: MemCube


@crossing
@dataclass(frozen=True, slots=True)
class Entity:
    """A name that memories tell, or that of somebody who speaks, with how many memories."""

    name: str
    memories: int
    speaks: bool


def upward(cube: MemCube, steps: int) -> list[Link]:
    """What a memory was made of, by what it says itself."""
    overtaken = cube.descriptive.valid_to is not None
    links: dict[str, Link] = {}
    for parent in cube.version.parents:
        if parent.cube_id != cube.id:
            why = f"version {parent.version} was merged into it"
            links[parent.cube_id] = Link(Relation.DEPENDS_ON, parent.cube_id, why, steps)
    for source in cube.descriptive.sources:
        if source.cube_id is None or source.cube_id in links or source.cube_id == cube.id:
            continue
        if overtaken and steps == 1 and _ended_by(cube, source.cube_id):
            why = "it ended what this said"
            links[source.cube_id] = Link(Relation.OVERTAKEN_BY, source.cube_id, why, steps)
        else:
            why = "it was made of it"
            links[source.cube_id] = Link(Relation.DEPENDS_ON, source.cube_id, why, steps)
    return list(links.values())


def _ended_by(cube: MemCube, id: str) -> bool:
    return cube.version.reason in (f"superseded by {id}", f"merged into {id}")
