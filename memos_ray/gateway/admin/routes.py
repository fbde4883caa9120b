"""Routes of policy administration: one for each operation of `core.access.administration`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

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
from memos_ray.gateway.admin.models import (
    Change,
    Documents,
    ExpiryBody,
    GrantBody,
    IssuerBody,
    KeyBody,
    NamespaceBody,
    NamespaceUsage,
    PrincipalBody,
    RoleBody,
    RotationBody,
    RuleBody,
    TenantBody,
    TenantState,
    Who,
    condition_of,
    documents_of,
)
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.doorway import Doorway
from memos_ray.gateway.fields import Key, Moment, Name, NamespaceName, PrincipalId
from memos_ray.gateway.memories import mapping
from memos_ray.gateway.memories.record_models import LogPage
from memos_ray.gateway.requests import CallerDep, DoorwayDep, JsonRoute
from memos_ray.ports import EventQuery

router = APIRouter(tags=["admin"], route_class=JsonRoute)

_NO_OVERLAP = RotationBody()
_Id = Annotated[Name, Path()]


async def _change(doorway: Doorway, caller: Caller, operation: AdminOperation) -> Change:
    changed = await doorway.admin.change(caller, operation)
    return Change(
        tenant=changed.tenant, version=changed.version, id=changed.id, secret=changed.secret
    )


@router.get("/whoami")
async def whoami(caller: CallerDep, doorway: DoorwayDep) -> Who:
    """Returns who the credential stands for."""
    return await doorway.admin.whoami(caller)


@router.get("/admin/documents")
async def policy_documents(
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Annotated[NamespaceName | None, Query()] = None,
) -> Documents:
    """Lists the tenant's policy documents, or those of one namespace."""
    return documents_of(await doorway.admin.documents(caller, namespace or ""))


@router.get("/admin/usage")
async def namespace_usage(
    caller: CallerDep,
    doorway: DoorwayDep,
    namespace: Annotated[NamespaceName | None, Query()] = None,
) -> NamespaceUsage:
    """Says how much a namespace holds, and what its quota is; for those who administer it."""
    return await doorway.admin.usage(caller, namespace)


@router.get("/admin/log")
async def policy_log(
    caller: CallerDep,
    doorway: DoorwayDep,
    principal: Annotated[Name | None, Query()] = None,
    operation: Annotated[Name | None, Query()] = None,
    request_id: Annotated[Key | None, Query()] = None,
    since: Annotated[Moment | None, Query()] = None,
    until: Annotated[Moment | None, Query()] = None,
    after: Annotated[int, Query(ge=0, lt=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> LogPage:
    """Reads the log of policy changes, oldest first; `cursor` is the next `after`."""
    query = EventQuery(
        principal=principal, operation=operation, request_id=request_id, since=since, until=until
    )
    found = await doorway.admin.events(caller, query, after, limit + 1)
    page = found[:limit]
    return LogPage(
        entries=[mapping.log_entry_of(event, -1) for event in page],
        cursor=str(page[-1].lsn) if len(found) > limit else None,
    )


@router.put("/admin/principals/{id}")
async def put_principal(
    id: Annotated[PrincipalId, Path()], body: PrincipalBody, caller: CallerDep, doorway: DoorwayDep
) -> Change:
    """Records a principal, or changes its roles or whether it is disabled."""
    return await _change(doorway, caller, PutPrincipal(body.record(id)))


@router.put("/admin/roles/{name}")
async def put_role(name: _Id, body: RoleBody, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Defines a role, or replaces its rules."""
    return await _change(doorway, caller, PutRole(body.role(name)))


@router.delete("/admin/roles/{name}")
async def remove_role(name: _Id, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Removes a role that nothing mentions any more."""
    return await _change(doorway, caller, RemoveRole(name))


@router.put("/admin/rules/{id}")
async def put_rule(id: _Id, body: RuleBody, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Adds a rule, or replaces the one of the same id."""
    return await _change(doorway, caller, PutRule(body.rule(id)))


@router.delete("/admin/rules/{id}")
async def remove_rule(id: _Id, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Removes a rule."""
    return await _change(doorway, caller, RemoveRule(id))


@router.post("/admin/grants", status_code=201)
async def give_grant(body: GrantBody, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Grants a subject actions in one namespace."""
    operation = GiveGrant(
        subject=body.subject,
        actions=tuple(body.actions),
        namespace=body.namespace,
        reach=body.reach,
        memories=condition_of(body.memories),
        expires_at=body.expires_at,
    )
    return await _change(doorway, caller, operation)


@router.delete("/admin/grants/{id}")
async def revoke_grant(id: _Id, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Takes a grant back."""
    return await _change(doorway, caller, RevokeGrant(id))


@router.post("/admin/keys", status_code=201)
async def issue_key(body: KeyBody, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Issues an API key; its secret is in this answer and nowhere else."""
    operation = IssueKey(
        principal=body.principal,
        scopes=tuple(body.scopes),
        application=body.application,
        not_before=body.not_before,
        expires_at=body.expires_at,
    )
    return await _change(doorway, caller, operation)


@router.post("/admin/keys/{id}/rotate", status_code=201)
async def rotate_key(
    id: _Id, caller: CallerDep, doorway: DoorwayDep, body: RotationBody = _NO_OVERLAP
) -> Change:
    """Issues a successor with the same limits; the old key ends after the overlap."""
    return await _change(doorway, caller, RotateKey(id, body.overlap_s))


@router.post("/admin/keys/{id}/expire")
async def expire_key(id: _Id, body: ExpiryBody, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Sets the moment from which a key is no longer accepted."""
    return await _change(doorway, caller, ExpireKey(id, body.at))


@router.delete("/admin/keys/{id}")
async def revoke_key(id: _Id, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Ends a key at once and for good."""
    return await _change(doorway, caller, RevokeKey(id))


@router.put("/admin/namespaces/{name:path}")
async def put_namespace(
    name: Annotated[NamespaceName, Path()],
    body: NamespaceBody,
    caller: CallerDep,
    doorway: DoorwayDep,
) -> Change:
    """Makes a namespace, or changes it: the body replaces what was there; its kind stays."""
    who = await doorway.admin.whoami(caller)
    return await _change(doorway, caller, PutNamespace(body.spec(name, who.principal)))


@router.put("/admin/issuers/{id}")
async def put_issuer(id: _Id, body: IssuerBody, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Accepts an identity provider's tokens, or replaces its keys."""
    return await _change(doorway, caller, PutIssuer(body.document(id)))


@router.delete("/admin/issuers/{id}")
async def remove_issuer(id: _Id, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Accepts an identity provider's tokens no longer."""
    return await _change(doorway, caller, RemoveIssuer(id))


@router.post("/admin/tenants", status_code=201)
async def create_tenant(body: TenantBody, caller: CallerDep, doorway: DoorwayDep) -> Change:
    """Makes a tenant with an administrator and its first key; for operators of the cluster."""
    return await _change(doorway, caller, CreateTenant(body.tenant))


@router.put("/admin/tenants/{tenant}")
async def set_tenant(
    tenant: _Id, body: TenantState, caller: CallerDep, doorway: DoorwayDep
) -> Change:
    """Disables a tenant or enables it again; for operators of the cluster."""
    return await _change(doorway, caller, SetTenant(tenant, body.disabled))
