"""Signed snapshots: what a cache accepts, and when it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.access.documents import Directory, TenantDocuments, encode
from memos_ray.core.access.model import PrincipalRecord, Tenant
from memos_ray.core.access.snapshot import (
    DIRECTORY,
    PolicyCache,
    SignedLease,
    SignedSnapshot,
    renew,
    sign,
)
from memos_ray.errors import PolicyUnavailableError

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
KEY = Ed25519PrivateKey.generate()
ROGUE = Ed25519PrivateKey.generate()


def documents(version: int, tenant: str = "acme", *people: str) -> TenantDocuments:
    records = tuple(PrincipalRecord(name) for name in people)
    return TenantDocuments(Tenant(tenant), version, records)


def issued(
    version: int, tenant: str = "acme", *people: str, key: Ed25519PrivateKey = KEY
) -> SignedSnapshot:
    return sign(key, documents(version, tenant, *people), NOW, NOW + LEASE)


def cache(*snapshots: SignedSnapshot) -> PolicyCache:
    made = PolicyCache(KEY.public_key().public_bytes_raw())
    for snapshot in snapshots:
        made.accept(snapshot, snapshot.tenant, NOW)
    return made


def test_a_genuine_snapshot_is_decided_from_until_its_lease_ends() -> None:
    held = cache(issued(1))
    assert held.policy("acme", NOW + LEASE - timedelta(microseconds=1)).version == 1
    with pytest.raises(PolicyUnavailableError):
        held.policy("acme", NOW + LEASE)
    assert held.version("acme") == 1
    assert held.tenants() == ("acme",)
    assert held.expires_at("acme") == NOW + LEASE


def test_without_a_snapshot_there_is_no_policy() -> None:
    held = cache(issued(1))
    for tenant in ("globex", DIRECTORY):
        with pytest.raises(PolicyUnavailableError):
            held.policy(tenant, NOW)
    with pytest.raises(PolicyUnavailableError):
        held.directory(NOW)
    assert held.version("globex") == 0
    assert held.expires_at("globex") is None


def test_newer_replaces_and_older_is_refused_even_after_the_lease() -> None:
    held = cache(issued(2))
    assert held.accept(issued(3), "acme", NOW)
    late = NOW + 2 * LEASE
    old = sign(KEY, documents(2), late, late + LEASE)
    with pytest.raises(PolicyUnavailableError):
        held.accept(old, "acme", late)
    with pytest.raises(PolicyUnavailableError):
        held.policy("acme", late)
    assert held.version("acme") == 3


def test_one_version_has_one_body() -> None:
    held = cache(issued(2, "acme", "user:ann"))
    with pytest.raises(PolicyUnavailableError):
        held.accept(issued(2, "acme", "user:bob"), "acme", NOW)
    assert [p.id for p in held.policy("acme", NOW).documents.principals] == ["user:ann"]


FORGERIES: list[tuple[str, Callable[[SignedSnapshot], SignedSnapshot]]] = [
    ("tenant", lambda s: replace(s, tenant="globex")),
    ("version", lambda s: replace(s, version=s.version + 1)),
    ("issued_at", lambda s: replace(s, issued_at=s.issued_at - timedelta(microseconds=1))),
    ("expires_at", lambda s: replace(s, expires_at=s.expires_at + timedelta(microseconds=1))),
    ("body", lambda s: replace(s, body=encode(documents(s.version, "acme", "user:eve")))),
    ("byte", lambda s: replace(s, body=s.body + b" ")),
    ("signature", lambda s: replace(s, signature=bytes(64))),
    ("short", lambda s: replace(s, signature=b"")),
    ("signer", lambda s: issued(s.version, key=ROGUE)),
    ("other tenant", lambda s: issued(s.version, "globex")),
]


@pytest.mark.parametrize("forge", [f for _, f in FORGERIES], ids=[name for name, _ in FORGERIES])
@pytest.mark.parametrize("before", [(), (issued(1),)], ids=["first", "later"])
def test_forgeries_change_nothing(
    forge: Callable[[SignedSnapshot], SignedSnapshot], before: tuple[SignedSnapshot, ...]
) -> None:
    held = cache(*before)
    with pytest.raises(PolicyUnavailableError):
        held.accept(forge(issued(2)), "acme", NOW)
    assert held.version("acme") == len(before)
    assert held.version("globex") == 0


@given(st.integers(0, 63), st.integers(0, 7))
def test_every_bit_of_the_signature_counts(place: int, bit: int) -> None:
    good = issued(1)
    signature = bytearray(good.signature)
    signature[place] ^= 1 << bit
    with pytest.raises(PolicyUnavailableError):
        cache(replace(good, signature=bytes(signature)))


def test_a_signed_body_must_be_what_it_says() -> None:
    """Even the authority is not believed when it contradicts itself."""
    odd = sign(KEY, documents(5), NOW, NOW + LEASE)
    for body in (b"{}", encode(documents(4)), encode(documents(5, "globex")), b"\xff"):
        forged = replace(odd, body=body)
        lease = renew(KEY, forged.lease, NOW, NOW + LEASE)
        with pytest.raises(PolicyUnavailableError):
            cache(replace(forged, signature=lease.signature))


def test_a_snapshot_out_of_lease_is_refused() -> None:
    with pytest.raises(PolicyUnavailableError):
        cache().accept(issued(1), "acme", NOW + LEASE)


def renewed(lease: SignedLease, by_s: float = 60, key: Ed25519PrivateKey = KEY) -> SignedLease:
    return renew(key, lease, NOW, NOW + timedelta(seconds=by_s))


def test_a_renewed_lease_prolongs_and_never_shortens() -> None:
    first = issued(1)
    held = cache(first)
    held.renew(renewed(first.lease), "acme", NOW)
    held.renew(renewed(first.lease, by_s=1), "acme", NOW)
    assert not held.accept(first, "acme", NOW)
    assert held.policy("acme", NOW + timedelta(seconds=59)).version == 1


def test_leases_of_others_are_refused() -> None:
    first = issued(2)
    held = cache(first)
    for lease in (
        renewed(first.lease, key=ROGUE),
        renewed(issued(1).lease),
        renewed(issued(3).lease),
        renewed(issued(2, "acme", "user:eve").lease),
        renewed(issued(2, "globex").lease),
        replace(renewed(first.lease), expires_at=NOW + timedelta(days=1)),
        renewed(first.lease, by_s=-1),
    ):
        with pytest.raises(PolicyUnavailableError):
            held.renew(lease, "acme", NOW)
    with pytest.raises(PolicyUnavailableError):
        cache().renew(renewed(first.lease), "acme", NOW)
    assert held.expires_at("acme") == NOW + LEASE


def test_the_directory_is_a_snapshot_of_nobody() -> None:
    listing = Directory(0).listing(documents(1))
    held = cache(sign(KEY, listing, NOW, NOW + LEASE))
    assert held.directory(NOW).tenants == ("acme",)
    with pytest.raises(PolicyUnavailableError):
        held.policy(DIRECTORY, NOW)
    with pytest.raises(PolicyUnavailableError):
        held.directory(NOW + LEASE)
