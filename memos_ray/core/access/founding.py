"""The first documents of a tenant: an administrator, its role and its key.

An administrator's role administers, and that is all: it reads nothing that it has not let itself
into by a rule or grant, which the audit log shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from memos_ray.core.access.context import Action
from memos_ray.core.access.documents import DocumentChange, TenantDocuments, merge, put
from memos_ray.core.access.model import (
    CLUSTER,
    TENANT_ITSELF,
    ApiKey,
    Effect,
    PrincipalRecord,
    Role,
    Rule,
    Tenant,
)
from memos_ray.core.access.policy import TenantPolicy

ADMINISTRATOR = "user:admin"
ADMINISTRATORS = "admin"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What an allowed request of an administrator does.

    Attributes:
        policy: of the tenant concerned, after the change.
        changes: documents of that tenant.
        id: of the document that the request is about.
        namespace: that it is about, if any.
        secret: of a key that was issued; absent from `repr`.
    """

    policy: TenantPolicy
    changes: tuple[DocumentChange, ...]
    id: str
    namespace: str = TENANT_ITSELF
    secret: str | None = field(default=None, repr=False)


def found(tenant: str, key_id: str, digest: str, now: datetime, *, operators: bool) -> Ruling:
    """Makes a tenant.

    Args:
        tenant: a tenant name that is free.
        key_id: id of the administrator's key.
        digest: what rests of it (`keys.proof_digest`).
        operators: whether the administrators of this tenant run the cluster.
    """
    nobody = TenantDocuments(Tenant(tenant), 0)
    changes = (put(Tenant(tenant)), *_administration(nobody, key_id, digest, now, operators))
    return Ruling(TenantPolicy(merge(nobody, changes)), changes, key_id, CLUSTER)


def reopen(
    policy: TenantPolicy, key_id: str, digest: str, now: datetime, *, operators: bool
) -> Ruling:
    """Gives a tenant that exists its first administrator back, with another key.

    For who runs the machines, when every administrator's key is lost.
    """
    documents = policy.documents
    changes = _administration(documents, key_id, digest, now, operators)
    return Ruling(TenantPolicy(merge(documents, changes)), changes, key_id, CLUSTER)


def _administration(
    documents: TenantDocuments, key_id: str, digest: str, now: datetime, operators: bool
) -> tuple[DocumentChange, ...]:
    everywhere = ("*", CLUSTER) if operators else ("*",)
    rule = Rule("administer", Effect.ALLOW, (Action.ADMINISTER,), everywhere)
    held = next((each for each in documents.principals if each.id == ADMINISTRATOR), None)
    others = tuple(role for role in held.roles if role != ADMINISTRATORS) if held else ()
    return (
        put(Role(ADMINISTRATORS, (rule,))),
        put(PrincipalRecord(ADMINISTRATOR, (*others, ADMINISTRATORS))),
        put(ApiKey(key_id, ADMINISTRATOR, digest, now, ADMINISTRATOR)),
    )
