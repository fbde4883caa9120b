"""Decides about requests that concern personas: who may make them, and which documents change.

operation                              who may
-------------------------------------  -----------------------------------------------------
PutPersona, for a role that is held    the principal itself; an administrator of the tenant
  … for a role that is not held        an administrator of the tenant, who thereby gives it
  … with further namespaces            as above, who administers each that is to be made
changing or retiring one               the principal, in a call that uses the persona's role;
                                       an administrator of the tenant who is somebody else
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from memos_ray.core.access.context import CallContext
from memos_ray.core.access.documents import DocumentChange, TenantDocuments, merge, put
from memos_ray.core.access.founding import Ruling
from memos_ray.core.access.model import (
    TENANT_ITSELF,
    NamespaceKind,
    NamespaceSpec,
    Role,
    default_spec,
    home_owner,
    is_home,
)
from memos_ray.core.access.personas import (
    Persona,
    PersonaOperation,
    PutPersona,
    RetirePersona,
    Space,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.access.validation import check
from memos_ray.errors import (
    ConflictError,
    IllegalStateError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
)

PERSONAS_MAX = 32
"""Most personas of one principal, retired ones included."""


def judge_persona(
    policy: TenantPolicy, context: CallContext, operation: PersonaOperation, now: datetime
) -> Ruling:
    """Decides about a request, inside the caller's tenant.

    Raises:
        PermissionDeniedError: the caller is neither the principal nor an administrator, does not
            hold the role, or does not use it.
        NotFoundError: there is no such principal or persona.
        ConflictError: the role or the stream is another persona's.
        IllegalStateError: the stream would change.
        InvalidInputError: a field is not acceptable.
        PayloadTooLargeError: the principal has too many personas.
    """
    match operation:
        case PutPersona(persona, creates):
            changes = _put(policy, context, persona, creates, now)
        case RetirePersona(principal, name):
            held = _held(policy.documents, f"{principal}/{name}")
            _demand_author(policy, context, principal, held, now)
            if held is None or held.retired:
                raise NotFoundError("there is no such persona", persona=name)
            persona = replace(held, retired=True)
            changes = (put(persona),)
    documents = policy.documents
    for change in changes:
        if change.document is not None:
            check(change.document, documents)
            # A role that the same request makes is there for the principal that it gives it to.
            documents = merge(documents, (change,))
    _refuse_overlaps(persona, policy.documents.personas)
    made = TenantPolicy(merge(policy.documents, changes))
    return Ruling(made, changes, persona.key, persona.stream)


def _put(
    policy: TenantPolicy,
    context: CallContext,
    persona: Persona,
    creates: tuple[Space, ...],
    now: datetime,
) -> tuple[DocumentChange, ...]:
    documents = policy.documents
    record = next((one for one in documents.principals if one.id == persona.principal), None)
    held = _held(documents, persona.key)
    _demand_author(policy, context, persona.principal, held, now)
    if record is None:
        raise NotFoundError("there is no such principal", principal=persona.principal)
    own = [one for one in documents.personas if one.principal == persona.principal]
    if held is None and len(own) >= PERSONAS_MAX:
        raise PayloadTooLargeError("too many personas", limit=PERSONAS_MAX)
    if held is not None and (held.stream, held.role) != (persona.stream, persona.role):
        raise IllegalStateError("a persona keeps its role and its stream", persona=persona.name)
    changes: list[DocumentChange] = []
    asserted = context.principal.id == persona.principal and persona.role in context.principal.roles
    if persona.role not in record.roles and not asserted:
        if not policy.may_administer(context, TENANT_ITSELF, now):
            raise PermissionDeniedError("the role is not held", role=persona.role)
        if all(role.name != persona.role for role in documents.roles):
            changes.append(put(Role(persona.role)))
        changes.append(put(replace(record, roles=(*record.roles, persona.role))))
    if all(spec.name != persona.stream for spec in documents.namespaces):
        owner = home_owner(persona.stream)
        changes.append(put(default_spec(persona.stream, NamespaceKind.USER_PRIVATE, owner)))
    there = {persona.stream, *(spec.name for spec in documents.namespaces)}
    new = {space.name: space for space in creates if space.name not in there}
    changes += [put(_space(policy, context, space, now)) for space in new.values()]
    return (*changes, put(persona))


def _space(
    policy: TenantPolicy, context: CallContext, space: Space, now: datetime
) -> NamespaceSpec:
    if not policy.may_administer(context, space.name, now):
        raise PermissionDeniedError("only an administrator may do this", namespace=space.name)
    private = is_home(space.name)
    kind = NamespaceKind.USER_PRIVATE if private else NamespaceKind.CONTEXTUAL_POOL
    owner = home_owner(space.name) if private else context.principal.id
    return replace(default_spec(space.name, kind, owner), members=space.members)


def _demand_author(
    policy: TenantPolicy,
    context: CallContext,
    principal: str,
    held: Persona | None,
    now: datetime,
) -> None:
    if context.principal.id == principal:
        # Whoever could change a persona out of its role could open its stream so.
        if held is not None and context.role != held.role:
            raise PermissionDeniedError("use the persona's role for this", role=held.role)
        return
    if not policy.may_administer(context, TENANT_ITSELF, now):
        raise PermissionDeniedError("only an administrator may do this")


def _refuse_overlaps(persona: Persona, known: tuple[Persona, ...]) -> None:
    others = [one for one in known if one.principal == persona.principal]
    for other in others:
        if other.name == persona.name:
            continue
        if other.role == persona.role:
            raise ConflictError("the role is another persona's", persona=other.name)
        nested = _within(persona.stream, other.stream) or _within(other.stream, persona.stream)
        if nested:
            raise ConflictError("the stream is another persona's", persona=other.name)
        if any(_within(name, other.stream) for name in persona.shared) or any(
            _within(name, persona.stream) for name in other.shared
        ):
            raise ConflictError("another persona's stream is not shared", persona=other.name)


def _within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(f"{outer}/")


def _held(documents: TenantDocuments, key: str) -> Persona | None:
    return next((one for one in documents.personas if one.key == key), None)
