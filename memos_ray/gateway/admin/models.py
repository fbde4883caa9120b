"""The public shapes of policy administration."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Any, TypeVar

from pydantic import Field, StringConstraints, TypeAdapter

from memos_ray.core.access.context import Action
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import (
    Algorithm,
    Effect,
    Grant,
    JwtIssuer,
    MemoryCondition,
    NamespaceKind,
    NamespaceMode,
    NamespaceSpec,
    PrincipalKind,
    PrincipalRecord,
    Reach,
    Role,
    Rule,
    default_spec,
)
from memos_ray.core.cube.metadata import SemanticType, Visibility
from memos_ray.core.cube.payload import Form
from memos_ray.gateway.fields import Model, Moment, Name, NamespaceName, PrincipalId

T = TypeVar("T")

Names = Annotated[list[Name], Field(max_length=256)]


def core_of(kind: type[T], model: Model, **more: Any) -> T:
    """Makes the core's own document of a model that has the same fields."""
    return TypeAdapter(kind).validate_python({**model.model_dump(), **more})


class TimeWindowBody(Model):
    """A weekly opening time on the wall clock of a place."""

    start: time
    end: time
    weekdays: list[Annotated[int, Field(ge=1, le=7)]] = []
    tz: str = "UTC"


class CircumstancesBody(Model):
    """A condition on the calling context; every part that is given must hold."""

    purposes: Names = []
    roles: Names = []
    applications: Names = []
    windows: list[TimeWindowBody] = []
    not_before: Moment | None = None
    not_after: Moment | None = None


class MemoryConditionBody(Model):
    """A condition on the memory; every part that is given must hold."""

    semantic_types: list[SemanticType] = []
    forms: list[Form] = []
    tags: Names = []
    without_tags: Names = []
    sensitivity: Names = []
    without_sensitivity: Names = []
    owners: Names = []


class RuleBody(Model):
    """Allows or denies actions on memories, under conditions."""

    effect: Effect
    actions: list[Action]
    namespaces: Names
    subjects: Names = []
    memories: MemoryConditionBody = MemoryConditionBody()
    when: CircumstancesBody = CircumstancesBody()
    unless: CircumstancesBody | None = None
    reach: Reach = Reach.SHARED

    def rule(self, id: str) -> Rule:
        """Makes the document."""
        return core_of(Rule, self, id=id)


class RoleRuleBody(RuleBody):
    """A rule inside a role."""

    id: Name


class RoleBody(Model):
    """The rules of a role."""

    rules: list[RoleRuleBody] = []

    def role(self, name: str) -> Role:
        """Makes the document."""
        return Role(name, tuple(core_of(Rule, rule) for rule in self.rules))


class PrincipalBody(Model):
    """Roles of a principal, and whether it may call at all."""

    roles: Names = []
    disabled: bool = False

    def record(self, id: str) -> PrincipalRecord:
        """Makes the document."""
        return PrincipalRecord(id, tuple(self.roles), self.disabled)


class GrantBody(Model):
    """Lets one subject do something in one namespace."""

    subject: Name
    actions: Annotated[list[Action], Field(min_length=1)]
    namespace: NamespaceName
    reach: Reach = Reach.SHARED
    memories: MemoryConditionBody = MemoryConditionBody()
    expires_at: Moment | None = None


class KeyBody(Model):
    """Whose key it is, and what it is narrowed to."""

    principal: PrincipalId
    scopes: list[Action] = []
    application: Name | None = None
    not_before: Moment | None = None
    expires_at: Moment | None = None


class RotationBody(Model):
    """How long the old key still works."""

    overlap_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class ExpiryBody(Model):
    """The moment from which a key is no longer accepted."""

    at: Moment


class NamespaceBody(Model):
    """A namespace; what is not given is as its kind starts with."""

    kind: NamespaceKind
    owner: PrincipalId | None = None
    mode: NamespaceMode | None = None
    default_visibility: Visibility | None = None
    members: Names = []
    quota_bytes: Annotated[int, Field(gt=0, lt=2**62)] | None = None
    path: str | None = None

    def spec(self, name: str, caller: str) -> NamespaceSpec:
        """Makes the document; the owner is the caller unless named."""
        start = default_spec(name, self.kind, self.owner or caller)
        return NamespaceSpec(
            name=name,
            kind=self.kind,
            owner=start.owner,
            mode=self.mode or start.mode,
            default_visibility=self.default_visibility or start.default_visibility,
            members=tuple(self.members),
            quota_bytes=self.quota_bytes,
            path=start.path if self.path is None else self.path,
        )


class VerificationKeyBody(Model):
    """One public key of an issuer, from its JWKS; `jwk` is the JSON object as text."""

    id: Name
    algorithm: Algorithm
    jwk: Annotated[str, StringConstraints(max_length=8192)]


class IssuerBody(Model):
    """An identity provider whose tokens are accepted."""

    issuer: Name
    audience: Name
    keys: Annotated[list[VerificationKeyBody], Field(min_length=1)]
    kind: PrincipalKind = PrincipalKind.USER
    subject_prefix: str | None = None
    subject_claim: Name = "sub"
    roles_claim: Name = "roles"
    assertable_roles: Names = []
    admits_unknown: bool = False
    leeway_s: Annotated[int, Field(ge=0, le=300)] = 60

    def document(self, id: str) -> JwtIssuer:
        """Makes the document."""
        return core_of(JwtIssuer, self, id=id)


class TenantBody(Model):
    """A new tenant."""

    tenant: Name


class TenantState(Model):
    """Whether a tenant may call at all."""

    disabled: bool


class NamespaceUsage(Model):
    """How much a namespace holds.

    `memories` that are not deleted, archived and expired ones included; `text_bytes` is the UTF-8
    length of their newest versions, which is what `quota_bytes` limits.
    """

    namespace: str
    memories: int
    text_bytes: int
    quota_bytes: int | None = None


class Change(Model):
    """The answer to a change of policy that is durable.

    `version` is that of the tenant's policy from which on the change holds; `secret` is the new
    API key, in this answer and nowhere else.
    """

    tenant: str
    version: int
    id: str
    secret: Annotated[str | None, Field(repr=False)] = None


class Who(Model):
    """Who a credential stands for."""

    tenant: str
    principal: str
    roles: list[str]
    credential: str
    scopes: list[Action]


class KeyView(Model):
    """An API key as it is kept; nobody can call with it."""

    id: str
    principal: str
    created_at: datetime
    created_by: str
    scopes: list[Action]
    application: str | None
    not_before: datetime | None
    expires_at: datetime | None
    revoked: bool


class Documents(Model):
    """The policy documents of a tenant, or what of them concerns one namespace."""

    tenant: str
    disabled: bool
    version: int
    principals: list[PrincipalRecord]
    roles: list[Role]
    rules: list[Rule]
    grants: list[Grant]
    keys: list[KeyView]
    namespaces: list[NamespaceSpec]
    issuers: list[JwtIssuer]


def documents_of(found: TenantDocuments) -> Documents:
    """Shows the documents to the outside, without the digests of keys."""
    keys = [
        KeyView(
            id=key.id,
            principal=key.principal,
            created_at=key.created_at,
            created_by=key.created_by,
            scopes=list(key.scopes),
            application=key.application,
            not_before=key.not_before,
            expires_at=key.expires_at,
            revoked=key.revoked,
        )
        for key in found.keys
    ]
    return Documents(
        tenant=found.tenant.id,
        disabled=found.tenant.disabled,
        version=found.version,
        principals=list(found.principals),
        roles=list(found.roles),
        rules=list(found.rules),
        grants=list(found.grants),
        keys=keys,
        namespaces=list(found.namespaces),
        issuers=list(found.issuers),
    )


def condition_of(body: MemoryConditionBody) -> MemoryCondition:
    """Makes the core's condition."""
    return core_of(MemoryCondition, body)
