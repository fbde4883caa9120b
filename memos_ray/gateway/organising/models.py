"""Organising: what is proposed about memories, and what a caller may say to it."""

from __future__ import annotations

from datetime import datetime

from memos_ray.core.organising import Kind, Proposed
from memos_ray.gateway.fields import Model


class OrganisingProposal(Model):
    """Two memories of which one makes the other superfluous.

    Accepting a `supersession` ends the validity of `older` where `newer` begins; accepting a
    `duplicate` keeps `older`, as a version with both as its parents, and ends `newer`. Nothing is
    deleted.
    """

    id: str
    kind: Kind
    state: Proposed
    older: str
    newer: str
    older_text: str
    newer_text: str
    confidence: float
    reasons: list[str]
    found_at: datetime


class OrganisingList(Model):
    """What is proposed in a namespace, the surest first.

    `automatic` tells whether what is sure is done at once. `lag` counts log entries that have not
    been looked at yet.
    """

    proposals: list[OrganisingProposal]
    automatic: bool
    lag: int


class Automation(Model):
    """Whether what is sure is done at once, with the rights of the caller, or only proposed."""

    automatic: bool
