"""Carries out what administrators ask: judge, store with the audit event, report.

Blocking; the authority calls it from a worker thread, one change at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from memos_ray.actors.policy.store import PolicyStore, Stored
from memos_ray.core.access.administration import (
    AdminOperation,
    Changed,
    CreateTenant,
    PutIssuer,
    RemoveIssuer,
    SetTenant,
)
from memos_ray.core.access.context import CallContext, Principal
from memos_ray.core.access.documents import Directory, DocumentChange, TenantDocuments, encode
from memos_ray.core.access.founding import Ruling, found, reopen
from memos_ray.core.access.judge import judge, judge_tenant
from memos_ray.core.access.keys import KEY_ENTROPY_BYTES, KeyProof, mint, proof_digest
from memos_ray.core.access.model import CLUSTER, TENANT_ITSELF, ApiKey
from memos_ray.core.access.persona_judge import judge_persona
from memos_ray.core.access.personas import PersonaOperation
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.vault.log import Event, Outcome
from memos_ray.errors import InvalidInputError, PermissionDeniedError
from memos_ray.ports import ClockPort

BOOT = "service:boot"
"""Author of what happens before anybody can log in."""

Listing = tuple[Stored[Directory], Directory]


class PolicyChanges:
    """Makes changes durable, each with the event that says who made it."""

    def __init__(
        self, store: PolicyStore, clock: ClockPort, entropy: Callable[[int], bytes]
    ) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy

    def bootstrap(self, tenant: str, first_key: KeyProof | None) -> Changed | None:
        """Makes sure that a tenant exists and that its administrator's first key opens it.

        See `MemGovernance.bootstrap`.
        """
        now, before = self._clock.now(), self._store.policy(tenant)
        if before is not None and (first_key is None or _knows(before.content, first_key)):
            return None
        if first_key is None:
            minted = mint(tenant, self._entropy(KEY_ENTROPY_BYTES))
            key_id, digest, secret = minted.key_id, minted.digest, minted.secret
        elif first_key.tenant == tenant:
            key_id, digest, secret = first_key.key_id, proof_digest(first_key), ""
        else:
            raise InvalidInputError("the first key is for another tenant", tenant=tenant)
        directory = self._store.directory()
        operators = directory.content.operators in ("", tenant)
        if before is None:
            ruling = found(tenant, key_id, digest, now, operators=operators)
        else:
            ruling = reopen(before.content, key_id, digest, now, operators=operators)
        listing = directory, directory.content.listing(ruling.policy.documents)
        boot = CallContext(Principal(tenant, BOOT))
        self._store.commit(before, ruling, listing, _event(boot, "bootstrap", ruling, now))
        return _changed(replace(ruling, secret=secret or None))

    def apply(self, context: CallContext, operation: AdminOperation | PersonaOperation) -> Changed:
        """Carries out an operation.

        Raises:
            VersionConflictError: another authority was faster; ask again.
            PermissionDeniedError: the caller may not; the attempt is on record.
            ClientError: as `judge` says.
        """
        now = self._clock.now()
        caller = self._store.policy(context.principal.tenant)
        if caller is None:
            raise PermissionDeniedError("only an administrator may do this")
        try:
            before, ruling = self._judge(caller, context, operation, now)
        except PermissionDeniedError as error:
            self._store.record(_denied(context, operation, error, now))
            raise
        listing: Listing | None = None
        if isinstance(operation, CreateTenant | PutIssuer | RemoveIssuer):
            directory = self._store.directory()
            listing = directory, directory.content.listing(ruling.policy.documents)
        event = _event(context, _name(operation), ruling, now)
        self._store.commit(before, ruling, listing, event)
        return _changed(ruling)

    def documents(self, context: CallContext, namespace: str) -> TenantDocuments:
        """Lists documents to who administers them; see `MemGovernance.documents`."""
        stored, now = self._store.policy(context.principal.tenant), self._clock.now()
        if stored is None or not stored.content.may_administer(context, namespace, now):
            raise PermissionDeniedError("only an administrator may do this", namespace=namespace)
        held = stored.content.documents
        if namespace == TENANT_ITSELF:
            return replace(held, keys=tuple(replace(key, digest="") for key in held.keys))
        return TenantDocuments(
            held.tenant,
            held.version,
            grants=tuple(grant for grant in held.grants if grant.namespace == namespace),
            namespaces=(stored.content.namespace(namespace),),
        )

    def _judge(
        self,
        caller: Stored[TenantPolicy],
        context: CallContext,
        operation: AdminOperation | PersonaOperation,
        now: datetime,
    ) -> tuple[Stored[TenantPolicy] | None, Ruling]:
        if isinstance(operation, PersonaOperation):
            return caller, judge_persona(caller.content, context, operation, now)
        entropy = self._entropy(KEY_ENTROPY_BYTES)
        if not isinstance(operation, CreateTenant | SetTenant):
            return caller, judge(caller.content, context, operation, now, entropy)
        # A tenant's own administrators may write any rule, but only into their own policy.
        if caller.content.tenant != self._store.directory().content.operators:
            raise PermissionDeniedError("only an operator of the cluster may do this")
        target = self._store.policy(operation.tenant)
        documents = None if target is None else target.content.documents
        ruling = judge_tenant(caller.content, documents, context, operation, now, entropy)
        return target, ruling


def _knows(policy: TenantPolicy, proof: KeyProof) -> bool:
    return any(key.id == proof.key_id for key in policy.documents.keys)


def _changed(ruling: Ruling) -> Changed:
    policy = ruling.policy
    return Changed(policy.tenant, policy.version, ruling.id, ruling.secret)


def _name(operation: AdminOperation | PersonaOperation) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(operation).__name__).lower()


def _event(context: CallContext, operation: str, ruling: Ruling, now: datetime) -> Event:
    """Says who changed what: with the documents, so that the log alone tells the policy's past."""
    detail: dict[str, str | int | float | bool | None] = {
        "target": ruling.policy.tenant,
        "id": ruling.id,
        "policy_version": ruling.policy.version,
    }
    for change in ruling.changes:
        detail[f"{change.kind}/{change.key}"] = _shown(change)
    return _entry(context, operation, ruling.namespace, now, Outcome.DONE, detail)


def _shown(change: DocumentChange) -> str | None:
    document = change.document
    if isinstance(document, ApiKey):
        document = replace(document, digest="")
    return None if document is None else encode(document).decode()


def _denied(
    context: CallContext,
    operation: AdminOperation | PersonaOperation,
    error: PermissionDeniedError,
    now: datetime,
) -> Event:
    namespace = error.details.get("namespace")
    if not isinstance(namespace, str):
        namespace = CLUSTER if isinstance(operation, CreateTenant | SetTenant) else TENANT_ITSELF
    return _entry(context, _name(operation), namespace[:256], now, Outcome.DENIED, {})


def _entry(
    context: CallContext,
    operation: str,
    namespace: str,
    now: datetime,
    outcome: Outcome,
    detail: Mapping[str, str | int | float | bool | None],
) -> Event:
    caller = context.principal
    return Event(
        lsn=0,
        at=now,
        tenant=caller.tenant,
        namespace=namespace,
        principal=caller.id,
        operation=operation,
        outcome=outcome,
        purpose=context.purpose,
        role=context.role,
        application=context.application,
        credential=caller.credential,
        request_id=context.request_id,
        detail=detail,
    )
