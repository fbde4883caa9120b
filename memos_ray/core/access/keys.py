"""API keys: `mk_<tenant>_<key id>_<secret><checksum>`.

    secret (256 random bits, shown once)  ──▶  proof (travels inside)  ──▶  digest (rests)

Each arrow is a hash; going left needs the inverse of BLAKE2b. A reader of the store, of a snapshot
or of a log therefore cannot call: logging in takes a proof, and a proof cannot be had from a
digest. A proof that leaks inside the cluster is no key for the gateway.

One pass of a fast hash is right here and would be wrong for passwords: guessing 256 random bits is
hopeless at any speed (NIST SP 800-63B, section 5.1.2, look-up secrets). The checksum is CRC-32 over
everything before it, as in other vendors' tokens: a typing error is told apart from a wrong key
without a look-up, and secret scanners can recognise a key.
"""

from __future__ import annotations

import re
from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from zlib import crc32

from memos_ray.core.access.names import is_tenant_name
from memos_ray.errors import InvalidInputError, UnauthenticatedError

KEY_ENTROPY_BYTES = 42
"""Random bytes that `mint` takes: 10 for the id, 32 for the secret."""

_ID_BYTES = 10
_SHAPE = re.compile(r"mk_([^_]+)_([a-z2-7]{16})_([A-Za-z0-9_-]{43})([0-9a-f]{8})")
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class KeyProof:
    """Shows that the sender has seen the key; compare with `matches`, never print.

    Attributes:
        value: 32 bytes; absent from `repr`.
    """

    tenant: str
    key_id: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key; `secret` is the text for its holder and is kept nowhere.

    Attributes:
        digest: what rests (`ApiKey.digest`).
    """

    tenant: str
    key_id: str
    digest: str
    secret: str = field(repr=False)


def mint(tenant: str, entropy: bytes) -> MintedKey:
    """Makes a key out of `KEY_ENTROPY_BYTES` random bytes.

    Raises:
        InvalidInputError: no tenant name, or another number of bytes.
    """
    if not is_tenant_name(tenant):
        raise InvalidInputError("not a tenant name", tenant=tenant)
    if len(entropy) != KEY_ENTROPY_BYTES:
        raise InvalidInputError("42 bytes of entropy are needed", found=len(entropy))
    key_id = b32encode(entropy[:_ID_BYTES]).decode().lower()
    body = urlsafe_b64encode(entropy[_ID_BYTES:]).decode().rstrip("=")
    text = f"mk_{tenant}_{key_id}_{body}"
    proof = _proof(tenant, key_id, entropy[_ID_BYTES:])
    return MintedKey(tenant, key_id, proof_digest(proof), text + _checksum(text))


def parse(text: str) -> KeyProof:
    """Reads a key as sent by a caller; says nothing about whether anybody knows it.

    Raises:
        UnauthenticatedError: not a key (`reason=format`), or a mistyped one (`reason=checksum`).
    """
    shape = _SHAPE.fullmatch(text) if len(text) <= _LONGEST else None
    if shape is None or not is_tenant_name(shape[1]):
        raise UnauthenticatedError("this is not an API key", reason="format")
    if not compare_digest(_checksum(text[:-8]), shape[4]):
        raise UnauthenticatedError("the API key is mistyped or cut off", reason="checksum")
    return _proof(shape[1], shape[2], urlsafe_b64decode(shape[3] + "="))


def proof_digest(proof: KeyProof) -> str:
    """Hashes a proof to what may rest: 64 hex digits."""
    return _hash(b"memos-digest", proof.tenant, proof.key_id, proof.value).hex()


def matches(proof: KeyProof, digest: str) -> bool:
    """Compares in a time that does not depend on where they differ."""
    return compare_digest(proof_digest(proof), digest)


def _proof(tenant: str, key_id: str, secret: bytes) -> KeyProof:
    return KeyProof(tenant, key_id, _hash(b"memos-proof", tenant, key_id, secret))


def _hash(stage: bytes, tenant: str, key_id: str, value: bytes) -> bytes:
    # Neither name can hold a NUL, and `value` has a fixed length: the parts cannot be confused.
    material = b"\0".join((tenant.encode(), key_id.encode(), value))
    return blake2b(material, digest_size=32, person=stage).digest()


def _checksum(text: str) -> str:
    return f"{crc32(text.encode()):08x}"
