"""JSON Web Tokens to principals: RFC 7519, with the advice of RFC 8725.

The algorithm is fixed by the key on record, never by the token (no `none`, no HMAC with a public
key). Issuer and audience are compared exactly; `exp` and `sub` must be there; unknown critical
headers are refused (RFC 7515, section 4.1.11). Times are checked here, against the caller's clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, assert_never

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK

from memos_ray.core.access.context import Principal
from memos_ray.core.access.model import Algorithm, JwtIssuer, VerificationKey
from memos_ray.core.access.names import is_principal_id, is_word
from memos_ray.core.access.standing import JWT_CREDENTIAL, Credentials
from memos_ray.errors import CredentialExpiredError, InvalidInputError, UnauthenticatedError

_LONGEST = 8192
_SHORTEST_RSA_BITS = 2048
_P256 = "secp256r1"
_MOST_ROLES = 64


def claimed_source(token: str) -> tuple[str, tuple[str, ...]]:
    """Reads issuer and audiences of a token *without verifying it*, to find its tenant.

    The answer may only be used to look the tenant up (`Directory.tenant_of`), whose issuer's key
    then has to verify the token.

    Raises:
        UnauthenticatedError: not a token.
    """
    claims = _unverified(token)
    issuer, audience = claims.get("iss"), claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not isinstance(issuer, str):
        raise _unknown()
    return issuer, tuple(name for name in audiences if isinstance(name, str))


def verify(token: str, credentials: Credentials, now: datetime) -> Principal:
    """Verifies a token and resolves its subject.

    Raises:
        UnauthenticatedError: forged, malformed, of an unknown issuer, not valid yet, or its subject
            is unknown or disabled.
        CredentialExpiredError: genuine, but past its expiry.
    """
    source, audiences = claimed_source(token)
    issuer = _issuer(credentials.issuers.values(), source, audiences)
    claims = _signed_claims(token, issuer)
    _check_times(claims, issuer.leeway_s, now)
    subject = claims.get(issuer.subject_claim)
    principal = issuer.principal(subject) if isinstance(subject, str) else ""
    if not is_principal_id(principal):
        raise _unknown()
    record = credentials.principals.get(principal)
    disabled = credentials.disabled or (record is not None and record.disabled)
    if disabled or (record is None and not issuer.admits_unknown):
        raise _unknown()
    asserted = _roles(claims.get(issuer.roles_claim)) & set(issuer.assertable_roles)
    roles = asserted | (set() if record is None else set(record.roles))
    return Principal(
        credentials.tenant, principal, tuple(sorted(roles)), JWT_CREDENTIAL + issuer.id
    )


def check_key(key: VerificationKey) -> None:
    """Verifies that a key is a public key, fits its algorithm and is strong enough (RFC 7518).

    Raises:
        InvalidInputError: it does not, or it holds private members.
    """
    try:
        members = json.loads(key.jwk)
        private = not isinstance(members, dict) or not {"d", "k", "p", "q"}.isdisjoint(members)
        fits = not private and _strong(_material(key.jwk, key.algorithm.value).key, key.algorithm)
    except (ValueError, jwt.PyJWTError):
        fits = False
    if not fits:
        raise InvalidInputError(
            "not a public key for this algorithm", key=key.id, algorithm=key.algorithm.value
        )


def _strong(material: object, algorithm: Algorithm) -> bool:
    match algorithm:
        case Algorithm.RS256:
            return isinstance(material, RSAPublicKey) and material.key_size >= _SHORTEST_RSA_BITS
        case Algorithm.ES256:
            return isinstance(material, EllipticCurvePublicKey) and material.curve.name == _P256
        case Algorithm.EDDSA:
            return isinstance(material, Ed25519PublicKey)
        case _ as never:
            assert_never(never)


@lru_cache(maxsize=256)
def _material(jwk: str, algorithm: str) -> PyJWK:
    return PyJWK.from_json(jwk, algorithm=algorithm)


def _issuer(issuers: Iterable[JwtIssuer], source: str, audiences: tuple[str, ...]) -> JwtIssuer:
    for issuer in issuers:
        if issuer.issuer == source and issuer.audience in audiences:
            return issuer
    raise _unknown()


def _signed_claims(token: str, issuer: JwtIssuer) -> Mapping[str, Any]:
    try:
        header = jwt.get_unverified_header(token)
        key = _chosen_key(issuer.keys, header)
        claims: Mapping[str, Any] = jwt.decode(
            token,
            _material(key.jwk, key.algorithm.value).key,
            algorithms=[key.algorithm.value],
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "iss", "aud", issuer.subject_claim],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, ValueError):
        raise _unknown() from None
    return claims


def _chosen_key(keys: tuple[VerificationKey, ...], header: Mapping[str, Any]) -> VerificationKey:
    if "crit" in header:
        raise _unknown()
    named = header.get("kid")
    for key in keys:
        fits = header.get("alg") == key.algorithm.value
        if fits and (key.id == named or (named is None and len(keys) == 1)):
            return key
    raise _unknown()


def _check_times(claims: Mapping[str, Any], leeway_s: int, now: datetime) -> None:
    moment = now.timestamp()
    ends, starts = _number(claims.get("exp")), _number(claims.get("nbf", 0))
    if starts > moment + leeway_s:
        raise _unknown()
    if ends <= moment - leeway_s:
        raise CredentialExpiredError("the token has expired")


def _number(claim: object) -> float:
    # NumericDate (RFC 7519, section 2); JSON knows booleans, infinities come from sloppy writers.
    if isinstance(claim, bool) or not isinstance(claim, int | float) or claim != claim:
        raise _unknown()
    return claim


def _roles(claim: object) -> set[str]:
    found = claim.split() if isinstance(claim, str) else claim
    if not isinstance(found, list):
        return set()
    return {role for role in found[:_MOST_ROLES] if isinstance(role, str) and is_word(role)}


def _unverified(token: str) -> Mapping[str, Any]:
    if len(token) > _LONGEST:
        raise _unknown()
    try:
        claims: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError):
        raise _unknown() from None
    return claims


def _unknown() -> UnauthenticatedError:
    return UnauthenticatedError("nobody knows this token")
