"""What an administrator may ask for: the closed union `AdminOperation`, and its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from memos_ray.core.access.context import Action
from memos_ray.core.access.model import (
    JwtIssuer,
    MemoryCondition,
    NamespaceSpec,
    PrincipalRecord,
    Reach,
    Role,
    Rule,
)


@dataclass(frozen=True, slots=True)
class CreateTenant:
    """Makes a tenant with an administrator and its first key; for operators of the cluster."""

    tenant: str


@dataclass(frozen=True, slots=True)
class SetTenant:
    """Disables a tenant or enables it again; for operators of the cluster."""

    tenant: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class PutPrincipal:
    """Records a principal, or changes its roles or whether it is disabled.

    Principals are disabled, never removed: a new one of the same id would inherit the old home.
    """

    record: PrincipalRecord


@dataclass(frozen=True, slots=True)
class PutRole:
    """Defines a role, or replaces its rules."""

    role: Role


@dataclass(frozen=True, slots=True)
class RemoveRole:
    """Removes a role that nothing mentions any more."""

    name: str


@dataclass(frozen=True, slots=True)
class PutRule:
    """Adds a rule, or replaces the one of the same id."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class RemoveRule:
    """Removes a rule."""

    id: str


@dataclass(frozen=True, slots=True)
class GiveGrant:
    """Grants a subject actions in one namespace; its administrator or home owner may.

    Granting `ADMINISTER` takes an administrator of the tenant; reach `PRIVATE` takes one, or the
    owner of the private namespace.
    """

    subject: str
    actions: tuple[Action, ...]
    namespace: str
    reach: Reach = Reach.SHARED
    memories: MemoryCondition = field(default_factory=MemoryCondition)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RevokeGrant:
    """Takes a grant back."""

    id: str


@dataclass(frozen=True, slots=True)
class IssueKey:
    """Issues an API key; its secret is in this answer and nowhere else."""

    principal: str
    scopes: tuple[Action, ...] = ()
    application: str | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RotateKey:
    """Issues a successor with the same limits; the old key ends after the overlap."""

    id: str
    overlap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ExpireKey:
    """Sets the moment from which a key is no longer accepted; it cannot be moved to later."""

    id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """Ends a key at once and for good."""

    id: str


@dataclass(frozen=True, slots=True)
class PutNamespace:
    """Makes a namespace, or changes its mode, members, owner, default visibility or quota.

    Its kind never changes, and namespaces are not removed: a new one of the same name would open
    what is left of the old. Everybody may make namespaces below the own home (`user:ann/work`).
    """

    spec: NamespaceSpec


@dataclass(frozen=True, slots=True)
class PutIssuer:
    """Accepts an identity provider's tokens, or replaces its keys."""

    issuer: JwtIssuer


@dataclass(frozen=True, slots=True)
class RemoveIssuer:
    """Accepts an identity provider's tokens no longer."""

    id: str


AdminOperation = (
    CreateTenant
    | SetTenant
    | PutPrincipal
    | PutRole
    | RemoveRole
    | PutRule
    | RemoveRule
    | GiveGrant
    | RevokeGrant
    | IssueKey
    | RotateKey
    | ExpireKey
    | RevokeKey
    | PutNamespace
    | PutIssuer
    | RemoveIssuer
)


@dataclass(frozen=True, slots=True)
class Changed:
    """The answer to a change that is durable.

    Attributes:
        tenant: whose policy changed.
        version: of that policy, from which on the change holds.
        id: of the document that changed; minted for grants and keys.
        secret: the new API key, this once; absent from `repr`.
    """

    tenant: str
    version: int
    id: str
    secret: str | None = field(default=None, repr=False)
