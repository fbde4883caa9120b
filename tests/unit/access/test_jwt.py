"""Tokens of identity providers: genuine ones, and the known ways to forge one (RFC 8725)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.access.documents import Directory, TenantDocuments
from memos_ray.core.access.jwt import check_key, claimed_source
from memos_ray.core.access.model import (
    Algorithm,
    JwtIssuer,
    PrincipalKind,
    PrincipalRecord,
    Role,
    Tenant,
    VerificationKey,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.predicate import Nothing
from memos_ray.errors import (
    ConflictError,
    CredentialExpiredError,
    InvalidInputError,
    UnauthenticatedError,
)

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ED = ed25519.Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE: dict[Algorithm, Any] = {Algorithm.EDDSA: ED, Algorithm.ES256: EC, Algorithm.RS256: RSA}
MAKERS: dict[Algorithm, Any] = {
    Algorithm.EDDSA: OKPAlgorithm,
    Algorithm.ES256: ECAlgorithm,
    Algorithm.RS256: RSAAlgorithm,
}
KEYS = tuple(
    VerificationKey(f"key-{algorithm}", algorithm, MAKERS[algorithm].to_jwk(key.public_key()))
    for algorithm, key in PRIVATE.items()
)
ISSUER = JwtIssuer("idp", "https://idp.example", "memos", KEYS, assertable_roles=("nurse",))
ANN = PrincipalRecord("user:idp|ann", ("clerk",))
DOCUMENTS = TenantDocuments(
    Tenant("acme"), 1, (ANN,), (Role("nurse"), Role("clerk"), Role("admin")), issuers=(ISSUER,)
)
POLICY = TenantPolicy(DOCUMENTS)


def claims(**changed: object) -> dict[str, object]:
    """Makes the claims of a good token; `None` leaves one out."""
    stamp = int(NOW.timestamp())
    good = {"iss": ISSUER.issuer, "aud": "memos", "sub": "ann", "exp": stamp + 60}
    return {name: value for name, value in (good | changed).items() if value is not None}


def token(algorithm: Algorithm = Algorithm.EDDSA, kid: str | None = None, **changed: object) -> str:
    headers = {"kid": kid or f"key-{algorithm}"}
    return pyjwt.encode(claims(**changed), PRIVATE[algorithm], algorithm.value, headers=headers)


def refused(text: str, held: TenantPolicy = POLICY) -> bool:
    with pytest.raises(UnauthenticatedError) as caught:
        held.authenticate_jwt(text, NOW)
    return type(caught.value) is UnauthenticatedError


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_GOV_2_a_genuine_token_becomes_its_principal(algorithm: Algorithm) -> None:
    principal = POLICY.authenticate_jwt(token(algorithm, roles=["nurse", "admin"]), NOW)
    assert principal == Principal("acme", "user:idp|ann", ("clerk", "nurse"), "jwt:idp")
    context = CallContext(principal)
    assert POLICY.permit(context, Action.READ, "user:idp|ann", NOW) != Nothing()
    without = TenantPolicy(replace(DOCUMENTS, issuers=()))
    assert without.permit(context, Action.READ, "user:idp|ann", NOW) == Nothing()


def test_GOV_2_roles_may_be_one_text_and_nonsense_gives_none() -> None:
    assert POLICY.authenticate_jwt(token(roles="nurse admin"), NOW).roles == ("clerk", "nurse")
    for odd in (7, {"nurse": True}, [["nurse"], None]):
        assert POLICY.authenticate_jwt(token(roles=odd), NOW).roles == ("clerk",)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://idp.example/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": ["other"]},
        {"sub": None},
        {"sub": "bob"},
        {"sub": ""},
        {"sub": 7},
        {"sub": "ann/../admin"},
        {"exp": None},
        {"exp": True},
        {"exp": "tomorrow"},
        {"nbf": int(NOW.timestamp()) + 61},
    ],
    ids=str,
)
def test_GOV_2_claims_that_are_refused(changed: dict[str, Any]) -> None:
    assert refused(token(**changed))


def test_GOV_2_an_audience_may_be_one_of_several() -> None:
    assert POLICY.authenticate_jwt(token(aud=["other", "memos"]), NOW).id == "user:idp|ann"


@pytest.mark.parametrize(("late_s", "expired"), [(59, False), (60, True), (61, True)])
def test_GOV_2_expiry_allows_for_the_leeway(late_s: int, expired: bool) -> None:
    text = token(exp=int(NOW.timestamp()) - late_s)
    if expired:
        with pytest.raises(CredentialExpiredError):
            POLICY.authenticate_jwt(text, NOW)
    else:
        assert POLICY.authenticate_jwt(text, NOW).id == "user:idp|ann"


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_GOV_2_no_signature_is_no_token() -> None:
    for name in ("none", "None", "NONE"):
        header = part({"alg": name, "typ": "JWT", "kid": "key-EdDSA"})
        assert refused(f"{header}.{part(claims())}.")


def test_GOV_2_a_public_key_is_no_hmac_secret() -> None:
    secret = KEYS[2].jwk.encode()
    header = part({"alg": "HS256", "typ": "JWT", "kid": "key-RS256"})
    body = f"{header}.{part(claims())}"
    mac = hmac.new(secret, body.encode(), hashlib.sha256).digest()
    assert refused(f"{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")


def test_GOV_2_a_token_names_a_key_of_its_own_algorithm() -> None:
    assert refused(token(Algorithm.EDDSA, kid="key-RS256"))
    assert refused(token(Algorithm.EDDSA, kid="unknown"))
    unnamed = pyjwt.encode(claims(), ED, "EdDSA")
    assert refused(unnamed)
    alone = TenantPolicy(replace(DOCUMENTS, issuers=(replace(ISSUER, keys=KEYS[:1]),)))
    assert alone.authenticate_jwt(unnamed, NOW).id == "user:idp|ann"


def test_GOV_2_another_providers_signature_is_refused() -> None:
    forged = pyjwt.encode(
        claims(), ed25519.Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": "key-EdDSA"}
    )
    assert refused(forged)


def test_GOV_2_keys_in_the_token_and_critical_headers_are_refused() -> None:
    rogue = ed25519.Ed25519PrivateKey.generate()
    jwk = json.loads(OKPAlgorithm.to_jwk(rogue.public_key()))
    headers = {"kid": "key-EdDSA", "jwk": jwk, "jku": "https://rogue.example"}
    assert refused(pyjwt.encode(claims(), rogue, "EdDSA", headers=headers))
    critical = {"kid": "key-EdDSA", "crit": ["b64"], "b64": True}
    assert refused(pyjwt.encode(claims(), ED, "EdDSA", headers=critical))


def test_GOV_2_changed_or_oversized_tokens_are_refused() -> None:
    header, _, signature = token().split(".")
    assert refused(f"{header}.{part(claims(sub='admin'))}.{signature}")
    assert refused(token(padding="x" * 9000))


@given(st.text(max_size=300) | st.builds(".".join, st.lists(st.text("ab-_=.", max_size=9))))
def test_GOV_2_any_text_is_refused_by_name(text: str) -> None:
    assert refused(text)


def test_GOV_2_a_provider_cannot_name_the_tenants_own_principals() -> None:
    admin = PrincipalRecord("user:admin", ("admin",))
    held = TenantPolicy(replace(DOCUMENTS, principals=(admin,)))
    assert refused(token(sub="admin"), held)
    trusted = replace(ISSUER, subject_prefix="")
    held = TenantPolicy(replace(DOCUMENTS, principals=(admin,), issuers=(trusted,)))
    assert held.authenticate_jwt(token(sub="admin"), NOW).roles == ("admin",)


def test_GOV_2_unknown_subjects_come_in_only_where_they_may() -> None:
    open_door = replace(ISSUER, admits_unknown=True, kind=PrincipalKind.AGENT, subject_claim="azp")
    held = TenantPolicy(replace(DOCUMENTS, issuers=(open_door,)))
    principal = held.authenticate_jwt(token(azp="bot", roles=["nurse", "clerk"]), NOW)
    assert (principal.id, principal.roles) == ("agent:idp|bot", ("nurse",))
    context = CallContext(principal)
    assert held.permit(context, Action.CREATE, principal.id, NOW) != Nothing()
    assert POLICY.permit(context, Action.CREATE, principal.id, NOW) == Nothing()
    # Its issuer speaks for its own subjects only.
    stolen = CallContext(replace(principal, id="user:idp|ann"))
    assert held.permit(stolen, Action.READ, "user:idp|ann", NOW) == Nothing()


def test_GOV_2_the_disabled_stay_out() -> None:
    for changed in (
        {"principals": (replace(ANN, disabled=True),)},
        {"tenant": Tenant("acme", disabled=True)},
    ):
        assert refused(token(), TenantPolicy(replace(DOCUMENTS, **changed)))  # type: ignore[arg-type]


def test_GOV_2_the_directory_finds_the_tenant_of_a_token() -> None:
    directory = Directory(0).listing(DOCUMENTS)
    assert directory.tenant_of(*claimed_source(token(aud=["x", "memos"]))) == "acme"
    assert directory.tenant_of(*claimed_source(token(iss="https://other.example"))) is None
    assert directory.tenant_of(*claimed_source(token(aud="x"))) is None
    rival = replace(DOCUMENTS, tenant=Tenant("globex"))
    with pytest.raises(ConflictError):
        directory.listing(rival)
    assert directory.listing(replace(DOCUMENTS, issuers=())).issuers == ()


@pytest.mark.parametrize(
    ("algorithm", "jwk"),
    [
        (Algorithm.RS256, KEYS[0].jwk),
        (Algorithm.EDDSA, "{}"),
        (Algorithm.EDDSA, "no json"),
        (Algorithm.EDDSA, "[]"),
        (Algorithm.EDDSA, OKPAlgorithm.to_jwk(ED)),
        (Algorithm.RS256, json.dumps({"kty": "oct", "k": "c2VjcmV0"})),
        (Algorithm.ES256, ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()).public_key())),
        (Algorithm.EDDSA, OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key())),
        (Algorithm.RS256, RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key())),
    ],
    ids=["mismatch", "empty", "garbage", "list", "private", "symmetric", "curve", "448", "short"],
)
def test_GOV_2_unfit_keys_are_refused(algorithm: Algorithm, jwk: str) -> None:
    with pytest.raises(InvalidInputError):
        check_key(VerificationKey("k", algorithm, jwk))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.id)
def test_GOV_2_fit_keys_are_accepted(key: VerificationKey) -> None:
    check_key(key)
