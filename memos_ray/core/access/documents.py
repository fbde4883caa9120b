"""All documents of one tenant as one value, and their canonical JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, assert_never, get_args

import orjson
from pydantic import TypeAdapter, ValidationError

from memos_ray.core.access.model import (
    ApiKey,
    Grant,
    JwtIssuer,
    NamespaceSpec,
    PrincipalRecord,
    Role,
    Rule,
    Tenant,
)
from memos_ray.core.access.personas import Persona
from memos_ray.errors import ConflictError, StoreCorruptError

Document = (
    Tenant | PrincipalRecord | Role | Rule | Grant | ApiKey | NamespaceSpec | JwtIssuer | Persona
)

_D = TypeVar("_D")


@dataclass(frozen=True, slots=True)
class TenantDocuments:
    """What a tenant's policy is compiled from.

    Attributes:
        version: grows with every change of any document.
    """

    tenant: Tenant
    version: int
    principals: tuple[PrincipalRecord, ...] = ()
    roles: tuple[Role, ...] = ()
    rules: tuple[Rule, ...] = ()
    grants: tuple[Grant, ...] = ()
    keys: tuple[ApiKey, ...] = ()
    namespaces: tuple[NamespaceSpec, ...] = ()
    issuers: tuple[JwtIssuer, ...] = ()
    personas: tuple[Persona, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """Puts a document of a tenant in place of the one with the same kind and key, or removes it."""

    kind: str
    key: str
    document: Document | None


@dataclass(frozen=True, slots=True)
class IssuerRoute:
    """Says which tenant accepts the tokens of an issuer for an audience."""

    issuer: str
    audience: str
    tenant: str


@dataclass(frozen=True, slots=True)
class Directory:
    """What has to be known before the tenant is: all tenants, and whose tokens belong to which.

    It travels as the snapshot of the empty tenant.

    Attributes:
        operators: the tenant whose administrators run the cluster: the first one made.
    """

    version: int
    operators: str = ""
    tenants: tuple[str, ...] = ()
    issuers: tuple[IssuerRoute, ...] = ()

    def tenant_of(self, issuer: str, audiences: tuple[str, ...]) -> str | None:
        """Returns the tenant that accepts this token; the pair is unique across tenants."""
        for route in self.issuers:
            if route.issuer == issuer and route.audience in audiences:
                return route.tenant
        return None

    def listing(self, documents: TenantDocuments) -> Directory:
        """Returns a newer directory in which a tenant stands with its present issuers.

        Raises:
            ConflictError: another tenant accepts tokens of the same issuer for the same audience.
        """
        tenant = documents.tenant.id
        others = tuple(route for route in self.issuers if route.tenant != tenant)
        taken = {(route.issuer, route.audience) for route in others}
        own = tuple(
            IssuerRoute(issuer.issuer, issuer.audience, tenant) for issuer in documents.issuers
        )
        for route in own:
            if (route.issuer, route.audience) in taken:
                raise ConflictError(
                    "this issuer and audience are taken",
                    issuer=route.issuer,
                    audience=route.audience,
                )
        tenants = tuple(sorted({*self.tenants, tenant}))
        return Directory(self.version + 1, self.operators or tenant, tenants, others + own)


_ADAPTERS: Mapping[type[Any], TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (*get_args(Document), TenantDocuments, Directory)
}


_COLLECTIONS: Mapping[str, tuple[str, type[Any]]] = {
    "principal": ("principals", PrincipalRecord),
    "role": ("roles", Role),
    "rule": ("rules", Rule),
    "grant": ("grants", Grant),
    "key": ("keys", ApiKey),
    "namespace": ("namespaces", NamespaceSpec),
    "issuer": ("issuers", JwtIssuer),
    "persona": ("personas", Persona),
}
TENANT_KIND = "tenant"
KINDS = frozenset({TENANT_KIND, *_COLLECTIONS})
"""The kinds that documents of a policy are stored under."""


def place_of(document: Document) -> tuple[str, str]:
    """Returns the kind and the key that a document is stored under."""
    match document:
        case Tenant(id=key):
            return TENANT_KIND, key
        case Role(name=key):
            return "role", key
        case NamespaceSpec(name=key):
            return "namespace", key
        case Persona():
            return "persona", document.key
        case PrincipalRecord(id=key):
            return "principal", key
        case Rule(id=key):
            return "rule", key
        case Grant(id=key):
            return "grant", key
        case ApiKey(id=key):
            return "key", key
        case JwtIssuer(id=key):
            return "issuer", key
        case _ as never:
            assert_never(never)


def put(document: Document) -> DocumentChange:
    """Makes the change that stores a document."""
    kind, key = place_of(document)
    return DocumentChange(kind, key, document)


def merge(documents: TenantDocuments, changes: Sequence[DocumentChange]) -> TenantDocuments:
    """Returns the next version of a tenant's documents; collections are in order of their keys."""
    merged = replace(documents, version=documents.version + 1)
    for change in changes:
        if isinstance(change.document, Tenant):
            merged = replace(merged, tenant=change.document)
            continue
        field, _ = _COLLECTIONS[change.kind]
        held = {place_of(document)[1]: document for document in getattr(merged, field)}
        held.pop(change.key, None)
        if change.document is not None:
            held[change.key] = change.document
        update: dict[str, Any] = {field: tuple(held[key] for key in sorted(held))}
        merged = replace(merged, **update)
    return merged


def assemble(version: int, bodies: Iterable[tuple[str, bytes]]) -> TenantDocuments | None:
    """Builds a tenant's documents from stored (kind, body) pairs; nothing without a tenant.

    Raises:
        StoreCorruptError: when a body is no document of its kind.
    """
    tenant: Tenant | None = None
    found: dict[str, list[Any]] = {kind: [] for kind in _COLLECTIONS}
    for kind, body in bodies:
        if kind == TENANT_KIND:
            tenant = decode(Tenant, body)
        elif kind in _COLLECTIONS:
            found[kind].append(decode(_COLLECTIONS[kind][1], body))
    if tenant is None:
        return None
    collections: dict[str, Any] = {
        _COLLECTIONS[kind][0]: tuple(sorted(documents, key=lambda each: place_of(each)[1]))
        for kind, documents in found.items()
    }
    return TenantDocuments(tenant, version, **collections)


def encode(value: object) -> bytes:
    """Encodes a document as canonical JSON: sorted keys, UTF-8, times in RFC 3339."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def decode(kind: type[_D], body: bytes) -> _D:
    """Decodes `encode`.

    Raises:
        StoreCorruptError: when the bytes are no such document.
    """
    try:
        value: _D = _ADAPTERS[kind].validate_json(body)
    except ValidationError as error:
        raise StoreCorruptError(
            "stored bytes are no such document", kind=kind.__name__, errors=error.error_count()
        ) from None
    return value
