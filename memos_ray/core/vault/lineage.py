"""Where a memory came from, and what was made of it: one step of the graph (API-2). Pure.

A step up goes from a memory to what it was made of, a step down to what was made of it. Every form
has the same links: the text of a fact, the KV cache of a text, an adapter that was taught it, what
was externalised from the adapter, a merge, an import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from memos_ray.core.access.context import CallContext
from memos_ray.core.crossing import crossing
from memos_ray.core.cube.cube import Change, MemCube, State, VersionInfo
from memos_ray.core.cube.metadata import Origin
from memos_ray.core.cube.payload import ActivationRef, Form, ParameterRef
from memos_ray.core.vault.log import Event

LIFECYCLE = "service:lifecycle"
"""Who the log says has moved memories by their age."""


class Tie(StrEnum):
    """How a memory hangs together with what is above it.

    `SOURCE`: it was made of that, or says that it was. `MERGED`: a version of it unites both.
    `OVERTAKEN`: that has ended its validity. `COPY`: it is a copy of that. `OUTSIDE`: that is no
    memory.
    """

    SOURCE = "source"
    MERGED = "merged"
    OVERTAKEN = "overtaken"
    COPY = "copy"
    OUTSIDE = "outside"


class Trigger(StrEnum):
    """What set the making of a version off."""

    REQUEST = "request"
    IMPORT = "import"
    PIPELINE = "pipeline"
    PROMOTION = "promotion"
    ORGANISING = "organising"
    EVOLUTION = "evolution"
    LIFECYCLE = "lifecycle"
    AUTOMATIC = "automatic"


@crossing
@dataclass(frozen=True, slots=True)
class Making:
    """Who made a version of a memory, when and how.

    Attributes:
        purpose, role, application, request_id: of the call; absent for who may not read the log
            entry.
    """

    version: int
    at: datetime
    author: str
    change: Change
    trigger: Trigger
    reason: str | None = None
    purpose: str | None = None
    role: str | None = None
    application: str | None = None
    request_id: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class UpLink:
    """One thing that a memory was made of: another memory at a version, or something outside."""

    tie: Tie
    cube_id: str | None = None
    version: int | None = None
    uri: str | None = None
    item: str | None = None


@crossing
@dataclass(frozen=True, slots=True)
class Lineage:
    """A memory as a node of the graph, for somebody who may read it; nothing of its content.

    Attributes:
        model: that it is for, or that has made it.
        made: its first version.
        last: its newest version, when there are several.
        up: what it was made of.
    """

    id: str
    namespace: str
    form: Form
    state: State
    origin: Origin
    version: int
    model: str | None
    made: Making
    last: Making | None
    up: tuple[UpLink, ...] = ()


@crossing
@dataclass(frozen=True, slots=True)
class LineageRequest:
    """Memories whose place in the graph is wanted.

    Attributes:
        ids: wherever they may lie.
        down: whether what was made of them is wanted, too.
    """

    context: CallContext
    ids: tuple[str, ...]
    down: bool = True


@crossing
@dataclass(frozen=True, slots=True)
class LineageAnswer:
    """What one partition knows.

    Attributes:
        shown: those of the memories that are here, for the caller.
        hidden: ids of those that are here and not for the caller; for the gateway alone.
        down: ids of memories here that were made of each one, as far as the caller may read them.
        withheld: of which there are further ones, or more than were looked at.
    """

    shown: tuple[Lineage, ...] = ()
    hidden: frozenset[str] = frozenset()
    down: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()


def lineage_of(
    head: MemCube, chain: Sequence[MemCube], events: Mapping[int, Event], audits: bool, caller: str
) -> Lineage:
    """Describes a memory.

    Args:
        chain: its versions, oldest first; at least the first and the newest one.
        events: the log entries that have made them, by version.
        audits: whether the caller may read the log entries of others.
    """
    makings = [
        _making(cube, events.get(cube.version.number), audits, caller) for cube in (chain[0], head)
    ]
    return Lineage(
        head.id,
        head.namespace,
        head.payload.form,
        head.state,
        head.descriptive.origin,
        head.version.number,
        _model(head),
        makings[0],
        makings[1] if head.version.number > 1 else None,
        tuple(_links(head, chain)),
    )


def trigger_of(cube: MemCube, event: Event | None) -> Trigger:
    """Tells what set a version off; a credential means that somebody has asked for it."""
    info = cube.version
    if event is not None and not event.credential:
        if info.author == LIFECYCLE:
            return Trigger.LIFECYCLE
        known = {"organiser": Trigger.ORGANISING, "evolution": Trigger.EVOLUTION}
        return known.get(event.application or "", Trigger.AUTOMATIC)
    if info.number == 1 and cube.descriptive.attributes.get("automatic") is True:
        return Trigger.PROMOTION
    if (info.reason or "").startswith("pipeline run "):
        return Trigger.PIPELINE
    if info.number == 1 and cube.descriptive.origin is Origin.IMPORT:
        return Trigger.IMPORT
    return Trigger.REQUEST


def _making(cube: MemCube, event: Event | None, audits: bool, caller: str) -> Making:
    info: VersionInfo = cube.version
    shown = event if event is not None and (audits or event.principal == caller) else None
    return Making(
        info.number,
        info.created_at,
        info.author,
        info.change,
        trigger_of(cube, event),
        info.reason,
        shown.purpose if shown else None,
        shown.role if shown else None,
        shown.application if shown else None,
        shown.request_id if shown else None,
    )


def _links(head: MemCube, chain: Sequence[MemCube]) -> list[UpLink]:
    """What the newest version names, and what earlier ones were merged from."""
    overtaken = _overtaken_by(chain)
    links: dict[tuple[object, ...], UpLink] = {}
    for source in head.descriptive.sources:
        if source.cube_id is None:
            link = UpLink(Tie.OUTSIDE, uri=source.uri, item=source.item)
        else:
            tie = Tie.OVERTAKEN if source.cube_id in overtaken else Tie.SOURCE
            link = UpLink(tie, source.cube_id, source.version, source.uri, source.item)
        links[link.cube_id, link.uri, link.item] = link
    for cube in chain:
        for parent in cube.version.parents:
            if parent.cube_id != head.id:
                link = UpLink(Tie.MERGED, parent.cube_id, parent.version)
                links.setdefault((link.cube_id, None, None), link)
    if head.provenance_id != head.id:
        link = UpLink(Tie.COPY, head.provenance_id)
        links.setdefault((link.cube_id, None, None), link)
    return [link for link in links.values() if link.cube_id != head.id]


def _overtaken_by(chain: Sequence[MemCube]) -> set[str]:
    """The sources that came with the end of a memory's validity."""
    found: set[str] = set()
    for before, after in pairwise(chain):
        one, other = before.descriptive, after.descriptive
        if one.valid_to is None and other.valid_to is not None:
            known = {source.cube_id for source in one.sources}
            named = {source.cube_id for source in other.sources} - known
            found |= {name for name in named if name is not None}
    return found


def _model(cube: MemCube) -> str | None:
    named = cube.descriptive.attributes.get("model")
    if isinstance(named, str):
        return named
    match cube.payload:
        case ParameterRef(base_model=base):
            return base
        case ActivationRef(engine=engine):
            return engine
        case _:
            return None
