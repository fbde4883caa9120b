"""Decides about administrators' requests: who may ask what, and which documents change by it.

    operation                                     needs ADMINISTER on
    --------------------------------------------  ---------------------------------------------
    CreateTenant, SetTenant                       `@cluster`, in the operators' tenant
    principals, roles, rules, keys, issuers       the tenant itself
    GiveGrant, RevokeGrant                        the namespace
      … that gives ADMINISTER                     the tenant itself
      … of reach PRIVATE                          the tenant itself, or owning the private namespace
    PutNamespace                                  the namespace (everybody's own home included)
      … that changes quota or path, or the        the tenant itself
        owner of a private namespace

Administering a namespace includes letting people in, oneself too; the audit log shows it. A change
after which its author could no longer administer the tenant is refused, for it is hardly ever meant
and nobody inside the tenant could undo it.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar, assert_never

from memos_ray.core.access.administration import (
    AdminOperation,
    CreateTenant,
    ExpireKey,
    GiveGrant,
    IssueKey,
    PutIssuer,
    PutNamespace,
    PutPrincipal,
    PutRole,
    PutRule,
    RemoveIssuer,
    RemoveRole,
    RemoveRule,
    RevokeGrant,
    RevokeKey,
    RotateKey,
    SetTenant,
)
from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.documents import DocumentChange, TenantDocuments, merge, put
from memos_ray.core.access.founding import Ruling, found
from memos_ray.core.access.keys import mint
from memos_ray.core.access.model import (
    CLUSTER,
    TENANT_ITSELF,
    ApiKey,
    Grant,
    JwtIssuer,
    NamespaceKind,
    NamespaceSpec,
    Reach,
    Role,
    Rule,
    Tenant,
    default_spec,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.access.validation import check, mentions_of
from memos_ray.errors import (
    ConflictError,
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
)

_GRANT_ID_BYTES = 10
_LONGEST_OVERLAP_S = 30 * 86_400


@dataclass(frozen=True, slots=True)
class _Effect:
    changes: tuple[DocumentChange, ...]
    id: str
    namespace: str = TENANT_ITSELF
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Request:
    policy: TenantPolicy
    context: CallContext
    now: datetime
    entropy: bytes = field(repr=False)

    @property
    def documents(self) -> TenantDocuments:
        return self.policy.documents

    def administers(self, namespace: str) -> bool:
        return self.policy.may_administer(self.context, namespace, self.now)

    def demand(self, namespace: str) -> None:
        if not self.administers(namespace):
            raise PermissionDeniedError("only an administrator may do this", namespace=namespace)


def judge_tenant(
    policy: TenantPolicy,
    target: TenantDocuments | None,
    context: CallContext,
    operation: CreateTenant | SetTenant,
    now: datetime,
    entropy: bytes,
) -> Ruling:
    """Decides about an operator's request.

    Args:
        policy: of the operators' tenant.
        target: the tenant in question, if it exists.

    Raises:
        PermissionDeniedError: the caller does not run the cluster.
        ConflictError: the tenant exists, or the change would lock its author out.
        NotFoundError: it does not.
    """
    if not policy.may_administer(context, CLUSTER, now):
        raise PermissionDeniedError("only an operator of the cluster may do this")
    match operation:
        case CreateTenant(tenant):
            if target is not None:
                raise ConflictError("the tenant exists", tenant=tenant)
            minted = mint(tenant, entropy)
            ruling = found(tenant, minted.key_id, minted.digest, now, operators=False)
            return replace(ruling, secret=minted.secret)
        case SetTenant(tenant, disabled):
            if target is None:
                raise NotFoundError("there is no such tenant", tenant=tenant)
            if disabled and tenant == policy.tenant:
                raise ConflictError("the operators' tenant cannot be disabled", tenant=tenant)
            changes = (put(Tenant(tenant, disabled)),)
            return Ruling(TenantPolicy(merge(target, changes)), changes, tenant, CLUSTER)
        case _ as never:
            assert_never(never)


def judge(
    policy: TenantPolicy,
    context: CallContext,
    operation: AdminOperation,
    now: datetime,
    entropy: bytes,
) -> Ruling:
    """Decides about a request of an administrator of a tenant, inside that tenant.

    Args:
        policy: of the caller's tenant.
        entropy: `KEY_ENTROPY_BYTES` random bytes.

    Raises:
        PermissionDeniedError: no rule lets the caller do this.
        InvalidInputError: a document is not acceptable.
        NotFoundError: something that the operation names does not exist, or is not the caller's
            to know.
        ConflictError: something still depends on what is to be removed, the key is over, or the
            change would lock its author out.
        PayloadTooLargeError: a document is too large.
    """
    effect = _effect(_Request(policy, context, now, entropy), operation)
    for change in effect.changes:
        if change.document is not None:
            check(change.document, policy.documents)
    changed = TenantPolicy(merge(policy.documents, effect.changes))
    _refuse_lock_out(policy, changed, context.principal, now)
    return Ruling(changed, effect.changes, effect.id, effect.namespace, effect.secret)


def _effect(request: _Request, operation: AdminOperation) -> _Effect:
    match operation:
        case PutNamespace(spec):
            return _put_namespace(request, spec)
        case GiveGrant():
            return _give_grant(request, operation)
        case RevokeGrant(key):
            return _revoke_grant(request, key)
        case CreateTenant() | SetTenant():
            raise InvalidInputError("this is an operation on tenants")
        case _:
            request.demand(TENANT_ITSELF)
    match operation:
        case PutPrincipal(record):
            return _Effect((put(record),), record.id)
        case PutRole(role):
            return _Effect((put(role),), role.name)
        case PutRule(rule):
            return _Effect((put(rule),), rule.id)
        case PutIssuer(issuer):
            return _Effect((put(issuer),), issuer.id)
        case RemoveRole(name):
            return _remove_role(request, name)
        case RemoveRule(key):
            _known(request.documents.rules, key)
            return _Effect((DocumentChange("rule", key, None),), key)
        case RemoveIssuer(key):
            _known(request.documents.issuers, key)
            return _Effect((DocumentChange("issuer", key, None),), key)
        case IssueKey():
            return _issue_key(request, operation)
        case RotateKey(key, overlap_s):
            return _rotate_key(request, key, overlap_s)
        case ExpireKey(key, at):
            return _expire_key(request, key, at)
        case RevokeKey(key):
            held = _known(request.documents.keys, key)
            return _Effect((put(replace(held, revoked=True)),), key)
        case _ as never:
            assert_never(never)


def _put_namespace(request: _Request, spec: NamespaceSpec) -> _Effect:
    request.demand(spec.name)
    held = next((each for each in request.documents.namespaces if each.name == spec.name), None)
    standard = default_spec(spec.name, spec.kind, spec.owner)
    if not spec.path:
        spec = replace(spec, path=standard.path if held is None else held.path)
    before = standard if held is None else held
    if before.kind is not spec.kind:
        raise IllegalStateError("a namespace keeps its kind", namespace=spec.name)
    reserved = (before.quota_bytes, before.path) != (spec.quota_bytes, spec.path)
    if spec.kind is NamespaceKind.USER_PRIVATE and before.owner != spec.owner:
        reserved = True
    if reserved:
        request.demand(TENANT_ITSELF)
    return _Effect((put(spec),), spec.name, spec.name)


def _give_grant(request: _Request, asked: GiveGrant) -> _Effect:
    namespace = asked.namespace
    request.demand(namespace)
    if Action.ADMINISTER in asked.actions:
        request.demand(TENANT_ITSELF)
    opens = request.policy.may_open_private(request.context, namespace, request.now)
    if asked.reach is Reach.PRIVATE and not opens:
        raise PermissionDeniedError("private memories are not yours to open", namespace=namespace)
    request.policy.namespace(namespace)
    if asked.expires_at is not None and asked.expires_at <= request.now:
        raise InvalidInputError("the grant would be over already", field="expires_at")
    grant = Grant(
        b32encode(request.entropy[:_GRANT_ID_BYTES]).decode().lower(),
        asked.subject,
        asked.actions,
        namespace,
        request.context.principal.id,
        asked.reach,
        asked.memories,
        asked.expires_at,
    )
    return _Effect((put(grant),), grant.id, namespace)


def _revoke_grant(request: _Request, key: str) -> _Effect:
    grant = next((each for each in request.documents.grants if each.id == key), None)
    # Whether a grant exists is told only to those who may take it back.
    if grant is None or not request.administers(grant.namespace):
        raise _absent(key)
    return _Effect((DocumentChange("grant", key, None),), key, grant.namespace)


def _remove_role(request: _Request, name: str) -> _Effect:
    _known_role(request.documents, name)
    mentions = mentions_of(name, request.documents)
    if mentions:
        raise ConflictError("the role is still in use", role=name, mentions=mentions[:10])
    return _Effect((DocumentChange("role", name, None),), name)


def _issue_key(request: _Request, asked: IssueKey) -> _Effect:
    minted = mint(request.policy.tenant, request.entropy)
    key = ApiKey(
        minted.key_id,
        asked.principal,
        minted.digest,
        request.now,
        request.context.principal.id,
        asked.scopes,
        asked.application,
        asked.not_before,
        asked.expires_at,
    )
    return _Effect((put(key),), key.id, secret=minted.secret)


def _rotate_key(request: _Request, key: str, overlap_s: float) -> _Effect:
    held = _usable_key(request, key)
    if not 0 <= overlap_s <= _LONGEST_OVERLAP_S:
        raise InvalidInputError("a field is not acceptable", field="overlap_s", found=overlap_s)
    end = request.now + timedelta(seconds=overlap_s)
    minted = mint(request.policy.tenant, request.entropy)
    successor = replace(
        held,
        id=minted.key_id,
        digest=minted.digest,
        created_at=request.now,
        created_by=request.context.principal.id,
    )
    old = replace(held, expires_at=min(end, held.expires_at or end))
    return _Effect((put(old), put(successor)), successor.id, secret=minted.secret)


def _expire_key(request: _Request, key: str, at: datetime) -> _Effect:
    held = _usable_key(request, key)
    if at.utcoffset() is None:
        raise InvalidInputError("a field is not acceptable", field="at")
    if held.expires_at is not None and at > held.expires_at:
        raise IllegalStateError("a key's end cannot be moved to later", id=key)
    return _Effect((put(replace(held, expires_at=at)),), key)


def _usable_key(request: _Request, key: str) -> ApiKey:
    held = _known(request.documents.keys, key)
    if held.revoked or (held.expires_at is not None and held.expires_at <= request.now):
        raise IllegalStateError("the key is over", id=key)
    return held


def _known_role(documents: TenantDocuments, name: str) -> Role:
    for role in documents.roles:
        if role.name == name:
            return role
    raise _absent(name)


_Identified = TypeVar("_Identified", Rule, ApiKey, JwtIssuer)


def _known(documents: Sequence[_Identified], key: str) -> _Identified:
    for document in documents:
        if document.id == key:
            return document
    raise _absent(key)


def _absent(key: str) -> NotFoundError:
    return NotFoundError("there is no such document", id=key[:256])


def _refuse_lock_out(
    before: TenantPolicy, after: TenantPolicy, author: Principal, now: datetime
) -> None:
    """Refuses a change by which its author would cease to administer the tenant.

    Asked of the principal as such: giving up the key in use is a lock-out only without the role.
    """
    if _administers_by_record(before, author, now) and not _administers_by_record(
        after, author, now
    ):
        raise ConflictError("the change would lock its author out of the tenant")


def _administers_by_record(policy: TenantPolicy, author: Principal, now: datetime) -> bool:
    records = policy.documents.principals
    roles = next((record.roles for record in records if record.id == author.id), ())
    vouched = CallContext(Principal(policy.tenant, author.id, roles))
    return policy.may_administer(vouched, TENANT_ITSELF, now)
