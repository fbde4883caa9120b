"""Which request carries which operation of an administrator."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, assert_never
from urllib.parse import quote

import orjson

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


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """One HTTP request; `safe` tells whether repeating it does nothing more."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    safe: bool = True


def request_of(operation: AdminOperation) -> AdminRequest:
    """Makes the request for an operation."""
    match operation:
        case CreateTenant():
            return AdminRequest("POST", "tenants", _body(operation), safe=False)
        case SetTenant(tenant=tenant):
            return AdminRequest("PUT", _path("tenants", tenant), _body(operation, "tenant"))
        case PutPrincipal(record=record):
            return AdminRequest("PUT", _path("principals", record.id), _body(record, "id"))
        case PutRole(role=role):
            return AdminRequest("PUT", _path("roles", role.name), _body(role, "name"))
        case RemoveRole(name=name):
            return AdminRequest("DELETE", _path("roles", name), safe=False)
        case PutRule(rule=rule):
            return AdminRequest("PUT", _path("rules", rule.id), _body(rule, "id"))
        case RemoveRule(id=id):
            return AdminRequest("DELETE", _path("rules", id), safe=False)
        case GiveGrant():
            return AdminRequest("POST", "grants", _body(operation), safe=False)
        case RevokeGrant(id=id):
            return AdminRequest("DELETE", _path("grants", id), safe=False)
        case IssueKey():
            return AdminRequest("POST", "keys", _body(operation), safe=False)
        case RotateKey(id=id):
            return AdminRequest(
                "POST", f"{_path('keys', id)}/rotate", _body(operation, "id"), safe=False
            )
        case ExpireKey(id=id):
            return AdminRequest("POST", f"{_path('keys', id)}/expire", _body(operation, "id"))
        case RevokeKey(id=id):
            return AdminRequest("DELETE", _path("keys", id))
        case PutNamespace(spec=spec):
            return AdminRequest("PUT", _path("namespaces", spec.name), _body(spec, "name"))
        case PutIssuer(issuer=issuer):
            return AdminRequest("PUT", _path("issuers", issuer.id), _body(issuer, "id"))
        case RemoveIssuer(id=id):
            return AdminRequest("DELETE", _path("issuers", id), safe=False)
        case _ as never:
            assert_never(never)


def _path(kind: str, name: str) -> str:
    return f"{kind}/{quote(name, safe=':@/' if kind == 'namespaces' else ':@')}"


def _body(document: Any, *left_out: str) -> dict[str, Any]:
    names = [field.name for field in fields(document) if field.name not in left_out]
    shown: dict[str, Any] = orjson.loads(
        orjson.dumps({name: getattr(document, name) for name in names})
    )
    return shown
