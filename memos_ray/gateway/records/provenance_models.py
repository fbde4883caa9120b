"""Provenance, as callers get it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from memos_ray.core.cube.cube import Change, State
from memos_ray.core.cube.metadata import Origin
from memos_ray.core.cube.payload import Form
from memos_ray.core.vault.lineage import Tie, Trigger
from memos_ray.gateway.fields import Model


class Direction(StrEnum):
    """Which way the lineage is followed: to what a memory was made of, to what of it, or both."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class Made(Model):
    """Who made a version of a memory, when, and what set that off.

    The circumstances of the call are absent where the caller may not read the log entry.
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


class ProvenanceNode(Model):
    """A memory of the lineage. `distance` is the number of links from the one that was asked about.

    `withheld_up` and `withheld_down` say that there are further links, to what is not there any
    more or not for the caller: which of the two, how many and where to, nobody is told.
    """

    id: str
    namespace: str
    form: Form
    state: State
    origin: Origin
    version: int
    model: str | None
    distance: int
    made: Made
    last: Made | None
    withheld_up: bool = False
    withheld_down: bool = False


class ProvenanceLink(Model):
    """What `made` was made of: a memory of the lineage at a version, or something outside.

    With `tie` `overtaken`, `source` has ended the validity of `made`.
    """

    made: str
    tie: Tie
    source: str | None = None
    version: int | None = None
    uri: str | None = None
    item: str | None = None


class Provenance(Model):
    """A page of a memory's lineage, the nearest first.

    `truncated` says that there is more than `depth` or the bound of the walk let be seen.
    """

    id: str
    nodes: list[ProvenanceNode]
    links: list[ProvenanceLink]
    truncated: bool
    cursor: str | None = None
