"""Logging in, and what a credential is worth afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from memos_ray.core.access import keys
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.access.documents import TenantDocuments
from memos_ray.core.access.model import (
    ApiKey,
    Circumstances,
    Effect,
    PrincipalRecord,
    Role,
    Rule,
    Tenant,
)
from memos_ray.core.access.policy import TenantPolicy
from memos_ray.core.cube.predicate import Nothing
from memos_ray.errors import CredentialExpiredError, UnauthenticatedError

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINTED = keys.mint("acme", bytes(42))
PROOF = keys.parse(MINTED.secret)
KEY = ApiKey(MINTED.key_id, "user:ann", MINTED.digest, NOW, "user:admin")
ANN = PrincipalRecord("user:ann", ("nurse",))
BASE = TenantDocuments(Tenant("acme"), 1, (ANN,), (Role("nurse"),), keys=(KEY,))


def policy(key: ApiKey = KEY, **parts: object) -> TenantPolicy:
    return TenantPolicy(replace(BASE, keys=(key,), **parts))  # type: ignore[arg-type]


def test_GOV_2_a_key_becomes_its_principal() -> None:
    scoped = policy(replace(KEY, scopes=(Action.READ,), application="app"))
    principal = scoped.authenticate_key(PROOF, NOW)
    assert (principal.tenant, principal.id, principal.roles) == ("acme", "user:ann", ("nurse",))
    assert principal.credential == f"key:{KEY.id}"
    assert principal.scopes == (Action.READ,)
    assert scoped.application(principal) == "app"
    assert MINTED.secret[-40:] not in repr(principal)


@pytest.mark.parametrize(
    "held",
    [
        policy(replace(KEY, revoked=True)),
        policy(replace(KEY, revoked=True, expires_at=NOW)),
        policy(replace(KEY, not_before=NOW + SECOND)),
        policy(replace(KEY, digest=keys.mint("acme", b"x" * 42).digest)),
        policy(replace(KEY, id="another")),
        policy(principals=(replace(ANN, disabled=True),)),
        policy(principals=()),
        policy(tenant=Tenant("acme", disabled=True)),
    ],
    ids=["revoked", "over", "not-yet", "wrong", "unknown", "disabled", "gone", "no-tenant"],
)
def test_GOV_2_every_refusal_reads_the_same(held: TenantPolicy) -> None:
    with pytest.raises(UnauthenticatedError) as caught:
        held.authenticate_key(PROOF, NOW)
    assert type(caught.value) is UnauthenticatedError
    assert str(caught.value) == "nobody knows this API key"


def test_GOV_2_only_a_genuine_key_is_told_that_it_has_expired() -> None:
    held = policy(replace(KEY, expires_at=NOW))
    assert held.authenticate_key(PROOF, NOW - SECOND).id == "user:ann"
    with pytest.raises(CredentialExpiredError):
        held.authenticate_key(PROOF, NOW)
    with pytest.raises(UnauthenticatedError) as caught:
        held.authenticate_key(replace(PROOF, value=b"x" * 32), NOW)
    assert type(caught.value) is UnauthenticatedError


def test_GOV_2_another_tenants_key_is_unknown_even_with_the_same_id_and_bytes() -> None:
    other = keys.parse(keys.mint("globex", bytes(42)).secret)
    assert other.key_id == PROOF.key_id
    with pytest.raises(UnauthenticatedError):
        policy().authenticate_key(other, NOW)
    with pytest.raises(UnauthenticatedError):
        policy().authenticate_key(replace(PROOF, tenant="globex"), NOW)


@pytest.mark.parametrize(
    "later",
    [
        policy(replace(KEY, revoked=True)),
        policy(replace(KEY, expires_at=NOW)),
        policy(replace(KEY, scopes=(Action.UPDATE,))),
        policy(replace(KEY, principal="user:bob"), principals=(ANN, PrincipalRecord("user:bob"))),
        policy(principals=(replace(ANN, disabled=True),)),
        TenantPolicy(replace(BASE, keys=())),
    ],
    ids=["revoked", "expired", "narrowed", "reassigned", "disabled", "removed"],
)
def test_GOV_2_a_call_that_is_under_way_loses_what_its_credential_lost(later: TenantPolicy) -> None:
    context = CallContext(policy().authenticate_key(PROOF, NOW))
    assert policy().permit(context, Action.READ, "user:ann", NOW) != Nothing()
    assert later.permit(context, Action.READ, "user:ann", NOW) == Nothing()


def test_GOV_2_a_role_that_was_taken_away_counts_no_longer() -> None:
    context = CallContext(policy().authenticate_key(PROOF, NOW), role="nurse")
    later = policy(principals=(replace(ANN, roles=()),))
    assert later.permit(context, Action.READ, "user:ann", NOW) == Nothing()


def test_GOV_2_a_keys_application_stands_whatever_the_request_claims() -> None:
    refuse = Rule(
        "r",
        Effect.DENY,
        (Action.READ,),
        ("*",),
        ("*",),
        unless=Circumstances(applications=("app",)),
    )
    context = CallContext(policy().authenticate_key(PROOF, NOW), application="app")
    free, bound = policy(rules=(refuse,)), replace(KEY, application="other")
    assert free.permit(context, Action.READ, "user:ann", NOW) != Nothing()
    held = policy(bound, rules=(refuse,))
    assert held.permit(context, Action.READ, "user:ann", NOW) == Nothing()
