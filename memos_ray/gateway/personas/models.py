"""Personas: what is shown of them."""

from __future__ import annotations

from memos_ray.gateway.fields import Model


class PersonaInfo(Model):
    """One role of a principal, with a memory stream of its own.

    `held` says whether the caller's credential carries the role, `in_use` whether this call uses
    it. The stream is reached in calls that use the role, and in no others. `policy` is the version
    of the tenant's policy that has it so.
    """

    tenant: str
    policy: int
    name: str
    principal: str
    role: str
    stream: str
    shared: list[str]
    purpose: str | None
    preface: str
    tags: list[str]
    half_life_s: float | None
    description: str
    held: bool
    in_use: bool
    retired: bool


class PersonaList(Model):
    """The personas of a principal, by name."""

    personas: list[PersonaInfo]
