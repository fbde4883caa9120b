"""Asks the policy whether a write may be."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.cube.facets import Facets
from memos_ray.core.cube.metadata import Visibility
from memos_ray.core.lifecycle.states import Living
from memos_ray.core.vault.changes import Revision, comes_back
from memos_ray.core.vault.operations import (
    Archive,
    Create,
    Delete,
    Freeze,
    Hold,
    Operation,
    Restore,
    Rollback,
    Share,
    Update,
)
from memos_ray.core.vault.quotas import QuotaRulesPort
from memos_ray.errors import NotFoundError, PermissionDeniedError

_ACTIONS: Mapping[type[Operation], Action] = {
    Create: Action.CREATE,
    Update: Action.UPDATE,
    Share: Action.SHARE,
    Delete: Action.DELETE,
    Restore: Action.UPDATE,
    Rollback: Action.UPDATE,
    Freeze: Action.UPDATE,
    Hold: Action.ADMINISTER,
    Archive: Action.UPDATE,
}


class GuardPort(QuotaRulesPort, Protocol):
    """The policy of one tenant, as planning needs it."""

    def check(
        self, context: CallContext, action: Action, namespace: str, facets: Facets, now: datetime
    ) -> None:
        """Lets the call pass or raises.

        Args:
            facets: of the memory concerned; for a creation, of the one about to be made.
            now: the moment to decide for.

        Raises:
            PermissionDeniedError: the caller may see the memory, but not do this.
            NotFoundError: the caller may not even see it.
        """
        ...

    def default_visibility(self, tenant: str, namespace: str) -> Visibility:
        """Returns the visibility of new memories that do not say theirs."""
        ...


def judge(
    guard: GuardPort,
    context: CallContext,
    operation: Revision,
    head: Living,
    namespace: str,
    flat: Facets,
    now: datetime,
) -> None:
    """Asks the policy whether a memory may be changed.

    What has expired may be brought back, or thawed, by whoever might change it before; to all
    others it stays hidden.

    Args:
        flat: facets of the memory.

    Raises:
        PermissionDeniedError: the caller may see the memory, but not do this.
        NotFoundError: the caller may not even see it.
    """
    action = _ACTIONS[type(operation)]
    try:
        guard.check(context, action, namespace, flat, now)
    except (NotFoundError, PermissionDeniedError):
        if "expires_at" not in flat or not comes_back(operation, head):
            raise
        facets = {name: value for name, value in flat.items() if name != "expires_at"}
        with suppress(NotFoundError, PermissionDeniedError):
            guard.check(context, action, namespace, facets, now)
            return
        raise
