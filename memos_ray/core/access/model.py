"""The documents of a tenant's access control: what administrators write and policies are made of.

Roles follow the NIST RBAC model (INCITS 359: users, roles, permissions, sessions that activate a
role); rules add attributes of the memory and of the call, as in XACML 3.0 targets and conditions.

Subjects are written `user:…`, `agent:…`, `service:…`, `role:…`, or `*` for every principal of the
tenant. Moments are aware UTC; an interval starts at its `not_before` and ends before its
`expires_at` or `not_after`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum

from memos_ray.core.access.context import Action
from memos_ray.core.cube.metadata import SemanticType, Visibility
from memos_ray.core.cube.payload import Form

ANYONE = "*"
TENANT_ITSELF = ""
"""Namespace argument for questions about the tenant's policy rather than about memories."""
CLUSTER = "@cluster"
"""Namespace of the cluster's own administration; effective in the operators' tenant only."""


class Effect(StrEnum):
    """What a rule does when it applies; `DENY` wins over every `ALLOW`."""

    ALLOW = "allow"
    DENY = "deny"


class Reach(StrEnum):
    """How far a rule or grant goes into other principals' memories.

    `SHARED` leaves private memories to their owner and named readers; `PRIVATE` covers them too.
    """

    SHARED = "shared"
    PRIVATE = "private"


class PrincipalKind(StrEnum):
    """The prefix of a principal's id."""

    USER = "user"
    AGENT = "agent"
    SERVICE = "service"


class NamespaceKind(StrEnum):
    """What a namespace is for (VAULT-1)."""

    USER_PRIVATE = "user_private"
    EXPERT = "expert"
    INDUSTRY_SHARED = "industry_shared"
    CONTEXTUAL_POOL = "contextual_pool"
    PIPELINE_CACHE = "pipeline_cache"


class NamespaceMode(StrEnum):
    """Whether a namespace takes writes at all."""

    WRITABLE = "writable"
    READ_ONLY = "read_only"


class Algorithm(StrEnum):
    """Signature algorithms accepted in JWTs (RFC 7518, RFC 8037); `none` and HMAC never are."""

    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """A weekly opening time on the wall clock of a place.

    Attributes:
        start: opens at this local time on each listed day.
        end: closes at this local time; on the following day when it is not after `start`.
        weekdays: ISO numbers, Monday is 1; every day when empty.
        tz: IANA time zone name.
    """

    start: time
    end: time
    weekdays: tuple[int, ...] = ()
    tz: str = "UTC"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """A condition on the calling context; every part that is given must hold.

    Attributes:
        purposes: the call must state one of them.
        roles: the call must use one of them; roles that are merely held do not count.
        applications: the calling application must be one of them; what a request says of itself
            counts only where its key does not fix it, so bind keys where this must hold.
        windows: the moment must lie in at least one.
        not_before: first moment.
        not_after: end, exclusive.
    """

    purposes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    windows: tuple[TimeWindow, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class MemoryCondition:
    """A condition on the memory; every part that is given must hold, any memory when none is.

    Attributes:
        tags: it carries at least one of them.
        without_tags: it carries none of them.
        sensitivity: it carries at least one of these sensitivity tags.
        without_sensitivity: it carries none of them.
        owners: it is owned by one of these principals.
    """

    semantic_types: tuple[SemanticType, ...] = ()
    forms: tuple[Form, ...] = ()
    tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    sensitivity: tuple[str, ...] = ()
    without_sensitivity: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows or denies actions on memories, under conditions.

    Attributes:
        namespaces: names, in which `*` stands for any characters. A wildcard of an allow rule
            reaches a private namespace only when the pattern starts with `user:`, `agent:` or
            `service:`; denials and `ADMINISTER` reach every namespace that the pattern matches.
        subjects: to whom it applies; empty inside a role, where it applies to the role.
        memories: condition on the memory.
        when: condition on the call.
        unless: the rule does not apply to calls like these.
        reach: whether an allow rule covers other principals' private memories.
    """

    id: str
    effect: Effect
    actions: tuple[Action, ...]
    namespaces: tuple[str, ...]
    subjects: tuple[str, ...] = ()
    memories: MemoryCondition = field(default_factory=MemoryCondition)
    when: Circumstances = field(default_factory=Circumstances)
    unless: Circumstances | None = None
    reach: Reach = Reach.SHARED


@dataclass(frozen=True, slots=True)
class Role:
    """A named bundle of rules that principals hold."""

    name: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """Lets one subject do something in one namespace until it is removed or expires.

    Attributes:
        granted_by: principal that gave it, for the record; the grant outlives that principal.
    """

    id: str
    subject: str
    actions: tuple[Action, ...]
    namespace: str
    granted_by: str
    reach: Reach = Reach.SHARED
    memories: MemoryCondition = field(default_factory=MemoryCondition)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer: nothing of one tenant is ever visible to another."""

    id: str
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class PrincipalRecord:
    """A user, agent or service that may call; its kind is the prefix of its id."""

    id: str
    roles: tuple[str, ...] = ()
    disabled: bool = False

    @property
    def kind(self) -> PrincipalKind:
        """The kind that the id is written with."""
        return PrincipalKind(self.id.partition(":")[0])


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of an API key: enough to recognise it, not enough to use it.

    Attributes:
        digest: hash of the key's proof, hex (see `keys`).
        scopes: actions that it is narrowed to; all that its principal may do when empty.
        application: application that it speaks for, whatever a request claims.
    """

    id: str
    principal: str
    digest: str
    created_at: datetime
    created_by: str
    scopes: tuple[Action, ...] = ()
    application: str | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class NamespaceSpec:
    """A place for memories.

    Attributes:
        owner: principal that administers it; in a private one, owner of every memory as well.
        default_visibility: of memories that are created without one.
        members: subjects who read what is shared, and create and change memories of their own.
        quota_bytes: most bytes of text that it may hold (`core.vault.quotas`); unlimited when
            absent. A branch is weighed for itself.
        path: prefix of its exported and archived files.
    """

    name: str
    kind: NamespaceKind
    owner: str
    mode: NamespaceMode = NamespaceMode.WRITABLE
    default_visibility: Visibility = Visibility.PRIVATE
    members: tuple[str, ...] = ()
    quota_bytes: int | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key of a JWT issuer, from its JWKS (RFC 7517).

    Attributes:
        id: the `kid` that tokens name it by.
        jwk: the key as a JSON object, public members only.
    """

    id: str
    algorithm: Algorithm
    jwk: str


@dataclass(frozen=True, slots=True)
class JwtIssuer:
    """An identity provider whose tokens a tenant accepts.

    Attributes:
        id: short name, the part of `Principal.credential` that names it.
        issuer: the `iss` claim, compared exactly.
        audience: a token must name it in `aud`.
        kind: kind of principal that its subjects become.
        subject_prefix: stands before the subject in the principal's id; `<id>|` when absent, as in
            `user:okta|7`. With an empty one the provider's subjects are the tenant's principals of
            the same name, whatever those may do.
        assertable_roles: roles that its tokens may add to those on record; others are ignored.
        admits_unknown: whether subjects without a record are let in, with asserted roles only.
        leeway_s: tolerated clock difference.
    """

    id: str
    issuer: str
    audience: str
    keys: tuple[VerificationKey, ...]
    kind: PrincipalKind = PrincipalKind.USER
    subject_prefix: str | None = None
    subject_claim: str = "sub"
    roles_claim: str = "roles"
    assertable_roles: tuple[str, ...] = ()
    admits_unknown: bool = False
    leeway_s: int = 60

    def principal(self, subject: str) -> str:
        """Returns the id of the principal that a subject is."""
        prefix = f"{self.id}|" if self.subject_prefix is None else self.subject_prefix
        return f"{self.kind.value}:{prefix}{subject}"


def is_home(namespace: str) -> bool:
    """Tells whether a namespace is some principal's home or lies in one (`user:ann/work`)."""
    return namespace.startswith(("user:", "agent:", "service:"))


def home_owner(namespace: str) -> str:
    """Returns the principal that a home belongs to."""
    return namespace.partition("/")[0]


_DEFAULTS = {
    NamespaceKind.USER_PRIVATE: (NamespaceMode.WRITABLE, Visibility.PRIVATE),
    NamespaceKind.EXPERT: (NamespaceMode.WRITABLE, Visibility.READ_ONLY),
    NamespaceKind.INDUSTRY_SHARED: (NamespaceMode.READ_ONLY, Visibility.READ_ONLY),
    NamespaceKind.CONTEXTUAL_POOL: (NamespaceMode.WRITABLE, Visibility.SHARED),
    NamespaceKind.PIPELINE_CACHE: (NamespaceMode.WRITABLE, Visibility.SHARED),
}


def default_spec(name: str, kind: NamespaceKind, owner: str) -> NamespaceSpec:
    """Returns a namespace with the mode and visibility that its kind starts with.

    Industry-shared knowledge starts read-only: it is filled by an import and then left alone.
    """
    mode, visibility = _DEFAULTS[kind]
    path = f"{kind.value}/{name}"
    return NamespaceSpec(name, kind, owner, mode, visibility, path=path)
