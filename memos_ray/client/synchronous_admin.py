"""Administration for callers without an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memos_ray.client.admin import AsyncAdmin
from memos_ray.client.loop_thread import LoopThread
from memos_ray.core.access.administration import AdminOperation
from memos_ray.core.access.context import Action
from memos_ray.core.access.model import NamespaceKind, NamespaceMode, Reach
from memos_ray.core.cube.metadata import Visibility
from memos_ray.gateway.admin.models import Change, Documents


class Admin:
    """Changes and lists policy; see `AsyncAdmin`."""

    def __init__(self, admin: AsyncAdmin, loop: LoopThread) -> None:
        self._admin = admin
        self._loop = loop

    def apply(self, operation: AdminOperation) -> Change:
        """Carries out any operation of `memos_ray.core.access.administration`."""
        return self._loop.run(self._admin.apply(operation))

    def documents(self, namespace: str | None = None) -> Documents:
        """Lists the tenant's policy documents, or those of one namespace."""
        return self._loop.run(self._admin.documents(namespace))

    def create_principal(
        self, id: str, roles: Sequence[str] = (), *, disabled: bool = False
    ) -> Change:
        """Records a principal, or changes it."""
        return self._loop.run(self._admin.create_principal(id, roles, disabled=disabled))

    def issue_key(
        self,
        principal: str,
        *,
        scopes: Sequence[Action | str] = (),
        application: str | None = None,
        not_before: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> Change:
        """Issues an API key; `secret` of the answer is shown this once."""
        return self._loop.run(
            self._admin.issue_key(
                principal,
                scopes=scopes,
                application=application,
                not_before=not_before,
                expires_at=expires_at,
            )
        )

    def rotate_key(self, id: str, overlap_s: float = 0.0) -> Change:
        """Issues a successor with the same limits; the old key ends after the overlap."""
        return self._loop.run(self._admin.rotate_key(id, overlap_s))

    def expire_key(self, id: str, at: datetime) -> Change:
        """Sets the moment from which a key is no longer accepted."""
        return self._loop.run(self._admin.expire_key(id, at))

    def revoke_key(self, id: str) -> Change:
        """Ends a key at once and for good."""
        return self._loop.run(self._admin.revoke_key(id))

    def grant(
        self,
        subject: str,
        actions: Sequence[Action | str],
        namespace: str,
        *,
        reach: Reach | str = Reach.SHARED,
        expires_at: datetime | None = None,
    ) -> Change:
        """Grants a subject actions in one namespace."""
        return self._loop.run(
            self._admin.grant(subject, actions, namespace, reach=reach, expires_at=expires_at)
        )

    def revoke_grant(self, id: str) -> Change:
        """Takes a grant back."""
        return self._loop.run(self._admin.revoke_grant(id))

    def create_namespace(
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
        """Makes a namespace, or changes it."""
        return self._loop.run(
            self._admin.create_namespace(
                name,
                kind,
                owner=owner,
                mode=mode,
                default_visibility=default_visibility,
                members=members,
                quota_bytes=quota_bytes,
            )
        )

    def create_tenant(self, tenant: str) -> Change:
        """Makes a tenant; `secret` of the answer is its first administrator's key."""
        return self._loop.run(self._admin.create_tenant(tenant))

    def set_tenant(self, tenant: str, *, disabled: bool) -> Change:
        """Disables a tenant, or enables it again."""
        return self._loop.run(self._admin.set_tenant(tenant, disabled=disabled))
