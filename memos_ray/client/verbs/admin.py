"""Policy administration, asynchronous."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from memos_ray.client.transport import Transport
from memos_ray.core.access.administration import (
    AdminOperation,
    CreateTenant,
    ExpireKey,
    GiveGrant,
    IssueKey,
    PutNamespace,
    PutPrincipal,
    RevokeGrant,
    RevokeKey,
    RotateKey,
    SetTenant,
)
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import (
    NamespaceKind,
    NamespaceMode,
    PrincipalRecord,
    Reach,
)
from memos_ray.core.cube.metadata import Visibility
from memos_ray.errors import InvalidInputError
from memos_ray.gateway.admin.models import Change, Documents, NamespaceBody, NamespaceUsage
from memos_ray.gateway.callers import Caller

E = TypeVar("E", bound=StrEnum)


class AsyncAdmin:
    """Changes and lists policy; the service checks who may."""

    def __init__(self, transport: Transport, caller: Caller) -> None:
        self._transport = transport
        self._caller = caller

    async def apply(self, operation: AdminOperation) -> Change:
        """Carries out any operation of `memos_ray.core.access.administration`."""
        return await self._transport.change(self._caller, operation)

    async def documents(self, namespace: str | None = None) -> Documents:
        """Lists the tenant's policy documents, or those of one namespace."""
        return await self._transport.documents(self._caller, namespace)

    async def usage(self, namespace: str | None = None) -> NamespaceUsage:
        """Says how much a namespace holds, and what its quota is; for those who administer it."""
        return await self._transport.usage(self._caller, namespace)

    async def create_principal(
        self, id: str, roles: Sequence[str] = (), *, disabled: bool = False
    ) -> Change:
        """Records a principal (`user:…`, `agent:…`, `service:…`), or changes it."""
        return await self.apply(PutPrincipal(PrincipalRecord(id, tuple(roles), disabled)))

    async def issue_key(
        self,
        principal: str,
        *,
        scopes: Sequence[Action | str] = (),
        application: str | None = None,
        not_before: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> Change:
        """Issues an API key; `secret` of the answer is shown this once."""
        actions = _actions(scopes)
        return await self.apply(IssueKey(principal, actions, application, not_before, expires_at))

    async def rotate_key(self, id: str, overlap_s: float = 0.0) -> Change:
        """Issues a successor with the same limits; the old key ends after the overlap."""
        return await self.apply(RotateKey(id, overlap_s))

    async def expire_key(self, id: str, at: datetime) -> Change:
        """Sets the moment from which a key is no longer accepted."""
        return await self.apply(ExpireKey(id, at))

    async def revoke_key(self, id: str) -> Change:
        """Ends a key at once and for good."""
        return await self.apply(RevokeKey(id))

    async def grant(
        self,
        subject: str,
        actions: Sequence[Action | str],
        namespace: str,
        *,
        reach: Reach | str = Reach.SHARED,
        expires_at: datetime | None = None,
    ) -> Change:
        """Grants a subject actions in one namespace."""
        given = GiveGrant(
            subject, _actions(actions), namespace, _one(Reach, reach), expires_at=expires_at
        )
        return await self.apply(given)

    async def revoke_grant(self, id: str) -> Change:
        """Takes a grant back."""
        return await self.apply(RevokeGrant(id))

    async def create_namespace(
        self,
        name: str,
        kind: NamespaceKind | str = NamespaceKind.CONTEXTUAL_POOL,
        *,
        owner: str | None = None,
        mode: NamespaceMode | str | None = None,
        default_visibility: Visibility | str | None = None,
        members: Sequence[str] = (),
        quota_bytes: int | None = None,
    ) -> Change:
        """Makes a namespace, or changes it; what is not given is as its kind starts with."""
        who = await self._transport.whoami(self._caller)
        body = NamespaceBody(
            kind=_one(NamespaceKind, kind),
            owner=owner,
            mode=None if mode is None else _one(NamespaceMode, mode),
            default_visibility=(
                None if default_visibility is None else _one(Visibility, default_visibility)
            ),
            members=list(members),
            quota_bytes=quota_bytes,
        )
        return await self.apply(PutNamespace(body.spec(name, who.principal)))

    async def create_tenant(self, tenant: str) -> Change:
        """Makes a tenant; `secret` of the answer is its first administrator's key."""
        return await self.apply(CreateTenant(tenant))

    async def set_tenant(self, tenant: str, *, disabled: bool) -> Change:
        """Disables a tenant, or enables it again."""
        return await self.apply(SetTenant(tenant, disabled))


def _actions(values: Sequence[Action | str]) -> tuple[Action, ...]:
    return tuple(_one(Action, value) for value in values)


def _one(kind: type[E], value: E | str) -> E:
    try:
        return kind(value)
    except ValueError:
        known = [str(each.value) for each in kind]
        raise InvalidInputError(
            f"not a {kind.__name__}", field=kind.__name__, known=known
        ) from None
