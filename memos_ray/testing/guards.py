"""A guard for tests that need a rule, but no policy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.access.names import base_of
from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.metadata import Visibility
from memos_ray.errors import NotFoundError, PermissionDeniedError

READ_ONLY = "archive"
"""A namespace in which nobody creates."""

ADMINISTRATOR = "user:ann"
"""Who administers the tenant."""


class OwnerGuard:
    """Implements `core.vault.guarding.GuardPort` by three simple rules.

    Owners may do everything with what is theirs but administer, which `ADMINISTRATOR` may. Named
    readers, and everyone when the memory is not private, may read; named writers may update what is
    not read-only. Everyone may create, but not in `READ_ONLY`. That is what the policy says of a
    pool whose members all callers are, and whose administrator one of them is.

    Attributes:
        quotas: most bytes of namespaces, by name; others have no limit.
    """

    def __init__(self, quotas: Mapping[str, int] | None = None) -> None:
        self.quotas = dict(quotas or {})

    def check(
        self, context: CallContext, action: Action, namespace: str, facets: Facets, now: datetime
    ) -> None:
        """See `GuardPort.check`."""
        me = context.principal.id
        if action is Action.ADMINISTER and me == ADMINISTRATOR:
            return
        if namespace == TENANT_ITSELF:
            raise NotFoundError("no such memory")
        if action is Action.CREATE:
            if namespace == READ_ONLY:
                raise PermissionDeniedError("nobody creates here", namespace=namespace)
            return
        if facets["owner"] == me and action is not Action.ADMINISTER:
            return
        visibility = facets["visibility"]
        if action is Action.UPDATE and visibility != Visibility.READ_ONLY.value:
            if me in _scope(facets, "writers"):
                return
        private = visibility == Visibility.PRIVATE.value and facets["owner"] != me
        if private and me not in _scope(facets, "readers"):
            raise NotFoundError("no such memory")
        if action is not Action.READ:
            raise PermissionDeniedError("this memory may not be used so", action=action.value)

    def default_visibility(self, tenant: str, namespace: str) -> Visibility:
        """See `GuardPort.default_visibility`."""
        return Visibility.PRIVATE

    def quota_bytes(self, tenant: str, namespace: str) -> int | None:
        """See `QuotaRulesPort.quota_bytes`."""
        return self.quotas.get(base_of(namespace))


def _scope(facets: Facets, name: str) -> tuple[str, ...]:
    names = facets.get(name)
    return names if isinstance(names, tuple) else ()
