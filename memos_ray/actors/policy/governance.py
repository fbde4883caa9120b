"""MemGovernance: the authority on who may do what.

It keeps the policies of all tenants, changes them for administrators, and hands them out as signed
snapshots; it decides nothing about memories itself. The private key stays in this process: readers
know the public key from their boot configuration.

Several incarnations may run by accident (a node cut off from the cluster). Each change replaces the
policy's head in the store by compare-and-set, and every snapshot and every renewal begins with a
look at that head, so that none of them overwrites another's change or prolongs what is outdated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.actors.policy.changes import PolicyChanges
from memos_ray.actors.policy.issuing import PolicyIssuer
from memos_ray.actors.policy.store import PolicyStore
from memos_ray.core.access.administration import AdminOperation, Changed
from memos_ray.core.access.context import CallContext
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.keys import KeyProof
from memos_ray.core.access.model import TENANT_ITSELF
from memos_ray.core.access.personas import PersonaOperation
from memos_ray.core.access.snapshot import DIRECTORY, SignedLease, SignedSnapshot
from memos_ray.core.vault.log import Event
from memos_ray.core.vault.receipts import attest
from memos_ray.errors import (
    OverloadedError,
    PermissionDeniedError,
    VersionConflictError,
)
from memos_ray.ports import ClockPort, ControlStorePort, EventQuery

_ATTEMPTS = 8
_PAGE = 1000

_Answer = TypeVar("_Answer", bound=Changed | None)


class MemGovernance:
    """The policy authority. Implements `ports.GovernancePort`.

    Concurrency: changes run one at a time in a worker thread; snapshots and polls beside them.
    """

    def __init__(
        self,
        store: ControlStorePort,
        clock: ClockPort,
        entropy: Callable[[int], bytes],
        signing_key: Ed25519PrivateKey,
        lease_s: float = 30.0,
    ) -> None:
        """Takes its parts; everything that it knows is in the store.

        Args:
            entropy: returns that many random bytes.
            lease_s: how long a snapshot may be decided from; also how long a revocation may take
                to reach a reader that is cut off.
        """
        self._control = store
        self._store = PolicyStore(store)
        self._clock = clock
        self._entropy = entropy
        self._changes = PolicyChanges(self._store, clock, entropy)
        self._key = signing_key
        self._lease_s = lease_s
        self._issuer = PolicyIssuer(self._store, clock, signing_key, lease_s)
        self._writing = asyncio.Lock()
        self._news: dict[str, asyncio.Event] = {}

    def public_key(self) -> bytes:
        """Returns the raw Ed25519 key that verifies the snapshots, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    async def bootstrap(self, tenant: str, first_key: KeyProof | None = None) -> str | None:
        """Makes sure that a tenant exists; idempotent.

        The administrators of the first tenant run the cluster.

        Args:
            first_key: proof of a key that the boot code has made and put away *before* it calls, so
                that no crash can lose it. A key that the tenant does not know yet becomes one of
                its administrator: that is how machine operators get back into a locked tenant.

        Returns:
            The administrator's new key when none was given and the tenant was made; else nothing.
        """
        changed = await self._write(lambda: self._changes.bootstrap(tenant, first_key))
        return None if changed is None else changed.secret

    async def change(
        self, context: CallContext, operation: AdminOperation | PersonaOperation
    ) -> Changed:
        """Carries out an administrator's request, durably and on record.

        Raises:
            PermissionDeniedError: no rule lets the caller do this.
            ClientError: as `core.access.judge.judge` says.
            OverloadedError: other authorities kept changing the same tenant.
        """
        return await self._write(lambda: self._changes.apply(context, operation))

    async def documents(
        self, context: CallContext, namespace: str = TENANT_ITSELF
    ) -> TenantDocuments:
        """Lists a tenant's documents, or one namespace's with its grants, to who administers them.

        Raises:
            PermissionDeniedError: the caller does not.
        """
        return await asyncio.to_thread(self._changes.documents, context, namespace)

    async def events(
        self, context: CallContext, query: EventQuery, after: int, limit: int
    ) -> list[Event]:
        """Returns the control events of the caller's tenant to its administrators, oldest first.

        Raises:
            PermissionDeniedError: the caller is none.
        """
        tenant = context.principal.tenant
        stored = await asyncio.to_thread(self._store.policy, tenant)
        now = self._clock.now()
        if stored is None or not stored.content.may_administer(context, TENANT_ITSELF, now):
            raise PermissionDeniedError("only an administrator may do this")
        own = replace(query, tenant=tenant)
        return await asyncio.to_thread(self._control.events, after, min(limit, _PAGE), own)

    async def snapshot(self, tenant: str) -> SignedSnapshot:
        """Returns a tenant's policy under a fresh lease; the empty tenant's is the directory.

        Raises:
            PolicyUnavailableError: there is no such tenant.
        """
        return (await asyncio.to_thread(self._issuer.issue, tenant)).snapshot

    async def wait_for_newer(
        self, tenant: str, version: int, timeout_s: float
    ) -> SignedSnapshot | SignedLease:
        """Returns as soon as the version is another than `version`, or else a renewed lease on it.

        The wait is cut at random to between half and all of it, and to half of a lease, so that
        readers do not come back all at once and never wait past their lease.

        Raises:
            PolicyUnavailableError: there is no such tenant.
        """
        share = 0.5 + self._entropy(1)[0] / 510
        deadline = self._clock.monotonic() + share * min(timeout_s, self._lease_s / 2)
        waiting = True
        while True:
            # Taken before the look at the store, so that no change falls between the two.
            news = self._news.setdefault(tenant, asyncio.Event())
            issued = await asyncio.to_thread(self._issuer.issue, tenant)
            if issued.lease.version != version:
                return issued.snapshot
            if not waiting:
                return issued.lease
            try:
                async with asyncio.timeout(deadline - self._clock.monotonic()):
                    await news.wait()
            except TimeoutError:
                waiting = False

    async def attest(self, tenant: str, receipt_digest: str) -> bytes:
        """Signs the digest of a complete receipt of an erasure."""
        return attest(self._key, tenant, receipt_digest)

    async def close(self) -> None:
        """Closes the store."""
        await asyncio.to_thread(self._control.close)

    async def _write(self, change: Callable[[], _Answer]) -> _Answer:
        for _ in range(_ATTEMPTS):
            try:
                async with self._writing:
                    answer = await asyncio.to_thread(change)
            except VersionConflictError:
                await asyncio.sleep(self._entropy(1)[0] / 5000)
                continue
            for tenant in (answer.tenant, DIRECTORY) if isinstance(answer, Changed) else ():
                self._news.pop(tenant, asyncio.Event()).set()
            return answer
        raise OverloadedError("other authorities keep changing this policy")
