"""Signed, leased policy snapshots, and the cache that a shard or a gateway decides from.

The authority signs (tenant, version, issue, expiry, digest of the body) with Ed25519 (RFC 8032).
Readers hold the public key from their boot configuration; a snapshot may travel through any store
or queue. A renewed lease is the same statement with a later expiry, so that the body need not
travel again.

Invariants of `PolicyCache`:
    - nothing that fails verification changes it;
    - the version of a tenant never goes down, not even after its lease has run out, and no two
      bodies are accepted under one version;
    - it answers only while `now < expires_at` of the newest lease: it fails closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from memos_ray.core.access.documents import Directory, TenantDocuments, decode, encode
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.identity import digest
from memos_ray.errors import InvalidInputError, PolicyUnavailableError, StoreCorruptError

DIRECTORY = ""
"""The tenant under which the directory of all tenants is issued."""


@dataclass(frozen=True, slots=True)
class SignedLease:
    """States until when one version of a tenant's policy may be decided from.

    Attributes:
        body_digest: blake2b-256 of the body, hex.
        signature: 64 bytes over all other fields.
    """

    tenant: str
    version: int
    issued_at: datetime
    expires_at: datetime
    body_digest: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedSnapshot:
    """A lease together with the policy's documents as canonical JSON."""

    tenant: str
    version: int
    issued_at: datetime
    expires_at: datetime
    body: bytes
    signature: bytes

    @property
    def lease(self) -> SignedLease:
        """The lease under the same signature."""
        return SignedLease(
            self.tenant,
            self.version,
            self.issued_at,
            self.expires_at,
            _body_digest(self.body),
            self.signature,
        )


def sign(
    key: Ed25519PrivateKey,
    content: TenantDocuments | Directory,
    issued_at: datetime,
    expires_at: datetime,
) -> SignedSnapshot:
    """Issues a snapshot."""
    tenant = DIRECTORY if isinstance(content, Directory) else content.tenant.id
    body = encode(content)
    message = _message(tenant, content.version, issued_at, expires_at, _body_digest(body))
    return SignedSnapshot(tenant, content.version, issued_at, expires_at, body, key.sign(message))


def renew(
    key: Ed25519PrivateKey, lease: SignedLease, issued_at: datetime, expires_at: datetime
) -> SignedLease:
    """Issues a new lease on an unchanged version."""
    message = _message(lease.tenant, lease.version, issued_at, expires_at, lease.body_digest)
    return SignedLease(
        lease.tenant, lease.version, issued_at, expires_at, lease.body_digest, key.sign(message)
    )


def verify(public_key: Ed25519PublicKey, lease: SignedLease) -> bool:
    """Tells whether the authority has signed exactly this lease."""
    message = _message(
        lease.tenant, lease.version, lease.issued_at, lease.expires_at, lease.body_digest
    )
    try:
        public_key.verify(lease.signature, message)
    except InvalidSignature:
        return False
    return True


@dataclass(slots=True)
class _Held:
    content: TenantPolicy | Directory
    lease: SignedLease


class PolicyCache:
    """The newest verified policy of each tenant in use.

    Not thread-safe in writing; reading from other threads is safe, for entries are replaced whole.
    Costs: `accept` verifies one signature (~0.1 ms) and compiles the policy; `policy` is a look-up.
    """

    def __init__(self, public_key: bytes) -> None:
        """Takes the authority's raw Ed25519 public key, 32 bytes."""
        self._public_key = Ed25519PublicKey.from_public_bytes(public_key)
        self._held: dict[str, _Held] = {}

    def accept(self, snapshot: SignedSnapshot, tenant: str, now: datetime) -> bool:
        """Takes a snapshot in.

        Args:
            tenant: whose policy was asked for.

        Returns:
            Whether the content is new; false when only the lease was.

        Raises:
            PolicyUnavailableError: forged, of another tenant, out of lease, older than the one
                held, or unreadable; what was held stays.
        """
        lease = snapshot.lease
        self._check(lease, tenant, now)
        held = self._held.get(tenant)
        if held is not None and held.lease.version == lease.version:
            self._extend(held, lease)
            return False
        self._held[tenant] = _Held(_content(snapshot), lease)
        return True

    def renew(self, lease: SignedLease, tenant: str, now: datetime) -> None:
        """Prolongs the lease of the version held.

        Raises:
            PolicyUnavailableError: forged, of another tenant or version, or out of lease.
        """
        self._check(lease, tenant, now)
        held = self._held.get(tenant)
        if held is None or held.lease.version != lease.version:
            raise _refused("the lease is for a version that is not held", tenant)
        self._extend(held, lease)

    def policy(self, tenant: str, now: datetime) -> TenantPolicy:
        """Returns the policy to decide from.

        Raises:
            PolicyUnavailableError: none is held, or its lease has run out.
        """
        content = self._fresh(tenant, now)
        if not isinstance(content, TenantPolicy):
            raise _refused("no policy is held", tenant)
        return content

    def directory(self, now: datetime) -> Directory:
        """Returns the directory of tenants.

        Raises:
            PolicyUnavailableError: none is held, or its lease has run out.
        """
        content = self._fresh(DIRECTORY, now)
        if not isinstance(content, Directory):
            raise _refused("no directory is held", DIRECTORY)
        return content

    def version(self, tenant: str) -> int:
        """Returns the version held, also when its lease has run out; 0 when there is none."""
        held = self._held.get(tenant)
        return 0 if held is None else held.lease.version

    def expires_at(self, tenant: str) -> datetime | None:
        """Returns the end of the lease, to renew in time."""
        held = self._held.get(tenant)
        return None if held is None else held.lease.expires_at

    def tenants(self) -> tuple[str, ...]:
        """Returns the tenants whose policy is held, in or out of lease."""
        return tuple(self._held)

    def _fresh(self, tenant: str, now: datetime) -> TenantPolicy | Directory:
        held = self._held.get(tenant)
        if held is None:
            raise _refused("no policy is held", tenant)
        if now >= held.lease.expires_at:
            raise _refused("the policy is out of lease", tenant)
        return held.content

    def _check(self, lease: SignedLease, tenant: str, now: datetime) -> None:
        if lease.tenant != tenant:
            raise _refused("the snapshot is of another tenant", tenant)
        if not verify(self._public_key, lease):
            raise _refused("the signature does not fit", tenant)
        if now >= lease.expires_at:
            raise _refused("the snapshot is out of lease", tenant)
        held = self._held.get(tenant)
        if held is None:
            return
        if lease.version < held.lease.version:
            raise _refused("the snapshot is older than the one held", tenant)
        same = lease.body_digest == held.lease.body_digest
        if lease.version == held.lease.version and not same:
            raise _refused("two snapshots claim one version", tenant)

    def _extend(self, held: _Held, lease: SignedLease) -> None:
        if lease.expires_at > held.lease.expires_at:
            held.lease = lease


def _content(snapshot: SignedSnapshot) -> TenantPolicy | Directory:
    try:
        if snapshot.tenant == DIRECTORY:
            return decode(Directory, snapshot.body)
        policy = TenantPolicy(decode(TenantDocuments, snapshot.body))
    except (StoreCorruptError, InvalidInputError):
        raise _refused("the snapshot is unreadable", snapshot.tenant) from None
    if (policy.tenant, policy.version) != (snapshot.tenant, snapshot.version):
        raise _refused("the snapshot holds something else than it says", snapshot.tenant)
    return policy


def _refused(reason: str, tenant: str) -> PolicyUnavailableError:
    return PolicyUnavailableError(reason, tenant=tenant)


def _body_digest(body: bytes) -> str:
    return digest(b"memos-policy-body-1", body)


def _message(
    tenant: str, version: int, issued_at: datetime, expires_at: datetime, body_digest: str
) -> bytes:
    parts = (tenant, str(version), str(to_micros(issued_at)), str(to_micros(expires_at)))
    encoded = (part.encode() for part in (*parts, body_digest))
    return digest(b"memos-policy-1", *encoded).encode()
