"""Issues signed snapshots of what the control store holds at this moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.actors.policy.store import PolicyStore
from memos_ray.core.access.documents import Directory
from memos_ray.core.access.snapshot import DIRECTORY, SignedLease, SignedSnapshot, renew, sign
from memos_ray.errors import PolicyUnavailableError
from memos_ray.ports import ClockPort


@dataclass(frozen=True, slots=True)
class Issued:
    """A snapshot, and its lease alone for readers that have the body.

    Attributes:
        head: revision in the store that it was made from.
    """

    head: int
    snapshot: SignedSnapshot
    lease: SignedLease


class PolicyIssuer:
    """Signs policies. Blocking; any thread may call it.

    A body is encoded once per version; every further lease on it costs one signature.
    """

    def __init__(
        self, store: PolicyStore, clock: ClockPort, key: Ed25519PrivateKey, lease_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._key = key
        self._lease = timedelta(seconds=lease_s)
        self._issued: dict[str, Issued] = {}

    def issue(self, tenant: str) -> Issued:
        """Returns a tenant's newest policy under a lease that begins now.

        Raises:
            PolicyUnavailableError: there is no such tenant.
        """
        stored = self._store.directory() if tenant == DIRECTORY else self._store.policy(tenant)
        if stored is None:
            raise PolicyUnavailableError("there is no such tenant", tenant=tenant)
        now = self._clock.now()
        held = self._issued.get(tenant)
        if held is not None and held.head == stored.head:
            lease = renew(self._key, held.lease, now, now + self._lease)
            snapshot = replace(
                held.snapshot,
                issued_at=lease.issued_at,
                expires_at=lease.expires_at,
                signature=lease.signature,
            )
        else:
            content = stored.content
            documents = content if isinstance(content, Directory) else content.documents
            snapshot = sign(self._key, documents, now, now + self._lease)
            lease = snapshot.lease
        issued = Issued(stored.head, snapshot, lease)
        self._issued[tenant] = issued
        return issued
