"""Every route of policy administration, over HTTP."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from memos_ray.errors import (
    ConflictError,
    CredentialExpiredError,
    IllegalStateError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from memos_ray.testing.rest_door import RestDoor, problem_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ADMIN = "/v1/admin"


async def test_whoami(door: RestDoor) -> None:
    who = await door.done("GET", "/v1/whoami")
    assert (who["tenant"], who["principal"], who["roles"]) == ("default", "user:admin", ["admin"])
    assert who["credential"].startswith("key:")


async def test_a_principal_its_key_and_its_successor(door: RestDoor) -> None:
    await door.done("PUT", f"{_ADMIN}/principals/user:a+b@x.org", {"roles": []})
    asked = {"principal": "user:a+b@x.org", "scopes": ["read"], "application": "desk"}
    issued = await door.done("POST", f"{_ADMIN}/keys", asked)
    who = await door.done("GET", "/v1/whoami", key=issued["secret"])
    assert (who["principal"], who["scopes"]) == ("user:a+b@x.org", ["read"])
    refused = await door.call("POST", "/v1/memories", {"text": "x"}, key=issued["secret"])
    problem_in(refused, PermissionDeniedError)
    rotated = await door.done("POST", f"{_ADMIN}/keys/{issued['id']}/rotate")
    problem_in(await door.call("GET", "/v1/whoami", key=issued["secret"]), CredentialExpiredError)
    assert (await door.done("GET", "/v1/whoami", key=rotated["secret"]))["scopes"] == ["read"]
    again = await door.call("POST", f"{_ADMIN}/keys/{issued['id']}/rotate")
    problem_in(again, IllegalStateError)
    await door.done("PUT", f"{_ADMIN}/principals/user:a+b@x.org", {"disabled": True})
    problem_in(await door.call("GET", "/v1/whoami", key=rotated["secret"]), UnauthenticatedError)


async def test_a_key_that_rotates_with_an_overlap_still_works(door: RestDoor) -> None:
    await door.done("PUT", f"{_ADMIN}/principals/user:over", {})
    issued = await door.done("POST", f"{_ADMIN}/keys", {"principal": "user:over"})
    path = f"{_ADMIN}/keys/{issued['id']}/rotate"
    await door.done("POST", path, {"overlap_s": 3600})
    await door.done("GET", "/v1/whoami", key=issued["secret"])


async def test_secrets_are_shown_once(door: RestDoor) -> None:
    await door.done("PUT", f"{_ADMIN}/principals/user:sec", {})
    issued = await door.done("POST", f"{_ADMIN}/keys", {"principal": "user:sec"})
    documents = await door.done("GET", f"{_ADMIN}/documents")
    held = next(one for one in documents["keys"] if one["id"] == issued["id"])
    assert held["principal"] == "user:sec" and "digest" not in held and "secret" not in held
    log = await door.done("GET", f"{_ADMIN}/log", params={"limit": 1000})
    assert issued["secret"] not in json.dumps([documents, log])


async def test_a_grant_opens_a_namespace_to_an_agent(door: RestDoor) -> None:
    place = "user:admin/team"
    path = f"{_ADMIN}/namespaces/{place}"
    kind = {"kind": "user_private", "default_visibility": "shared"}
    await door.done("PUT", path, kind)
    await door.done("POST", "/v1/memories", {"text": "plan"}, params={"namespace": place})
    agent = await door.key_of("agent:planner")
    listed: dict[str, Any] = {"params": {"namespace": place}, "key": agent}
    assert (await door.done("GET", "/v1/memories", **listed))["memories"] == []
    grant = {"subject": "agent:planner", "actions": ["read"], "namespace": place}
    given = await door.done("POST", f"{_ADMIN}/grants", grant)
    found = await door.done("GET", "/v1/memories", **listed)
    assert [one["text"] for one in found["memories"]] == ["plan"]
    shown = await door.done("GET", f"{_ADMIN}/documents", params={"namespace": place})
    assert [one["id"] for one in shown["grants"]] == [given["id"]]
    await door.done("DELETE", f"{_ADMIN}/grants/{given['id']}")
    assert (await door.done("GET", "/v1/memories", **listed))["memories"] == []
    problem_in(await door.call("DELETE", f"{_ADMIN}/grants/{given['id']}"), NotFoundError)


async def test_a_namespace_keeps_its_kind(door: RestDoor) -> None:
    path = f"{_ADMIN}/namespaces/pool"
    made = await door.done("PUT", path, {"kind": "contextual_pool", "members": ["role:admin"]})
    assert made["id"] == "pool"
    problem_in(await door.call("PUT", path, {"kind": "user_private"}), IllegalStateError)


async def test_a_role_and_its_rules(door: RestDoor) -> None:
    rule = {"id": "r1", "effect": "allow", "actions": ["read"], "namespaces": ["reports"]}
    await door.done("PUT", f"{_ADMIN}/roles/reader", {"rules": [rule]})
    await door.done("PUT", f"{_ADMIN}/principals/user:reader", {"roles": ["reader"]})
    problem_in(await door.call("DELETE", f"{_ADMIN}/roles/reader"), ConflictError)
    await door.done("PUT", f"{_ADMIN}/principals/user:reader", {"roles": []})
    await door.done("DELETE", f"{_ADMIN}/roles/reader")
    problem_in(await door.call("DELETE", f"{_ADMIN}/roles/reader"), NotFoundError)
    unknown = await door.call("PUT", f"{_ADMIN}/principals/user:reader", {"roles": ["nobody"]})
    problem_in(unknown, NotFoundError)


async def test_a_rule_denies_by_purpose(door: RestDoor) -> None:
    place = {"namespace": await door.memos.namespace("user:admin/files")}
    await door.done("POST", "/v1/memories", {"text": "file"}, params=place)
    rule = {
        "effect": "deny",
        "actions": ["read"],
        "namespaces": [place["namespace"]],
        "subjects": ["user:admin"],
        "when": {"purposes": ["training"]},
    }
    await door.done("PUT", f"{_ADMIN}/rules/no-training", rule)
    usual = await door.done("GET", "/v1/memories", params=place)
    training = {"X-Memos-Purpose": "training"}
    answer = await door.call("GET", "/v1/memories", params=place, headers=training)
    assert len(usual["memories"]) == 1
    assert answer.status_code in (403, 404)
    await door.done("DELETE", f"{_ADMIN}/rules/no-training")
    again = await door.done("GET", "/v1/memories", params=place, headers=training)
    assert len(again["memories"]) == 1


async def test_tokens_of_a_registered_issuer(door: RestDoor) -> None:
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes_raw()
    public = {"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(raw).decode().rstrip("=")}
    issuer = {
        "issuer": "https://idp.example",
        "audience": "memos",
        "admits_unknown": True,
        "keys": [{"id": "k1", "algorithm": "EdDSA", "jwk": json.dumps(public)}],
    }
    await door.done("PUT", f"{_ADMIN}/issuers/idp", issuer)
    expires = datetime.now(UTC) + timedelta(hours=1)
    claims = {"iss": "https://idp.example", "aud": "memos", "sub": "kim", "exp": expires}
    token = pyjwt.encode(claims, private, algorithm="EdDSA", headers={"kid": "k1"})
    who = await door.done("GET", "/v1/whoami", key=token)
    assert who["principal"] == "user:idp|kim"
    forged = pyjwt.encode(
        claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "k1"}
    )
    problem_in(await door.call("GET", "/v1/whoami", key=forged), UnauthenticatedError)
    await door.done("DELETE", f"{_ADMIN}/issuers/idp")
    problem_in(await door.call("GET", "/v1/whoami", key=token), UnauthenticatedError)
    weak = {**issuer, "keys": [{"id": "k1", "algorithm": "RS256", "jwk": "{}"}]}
    problem_in(await door.call("PUT", f"{_ADMIN}/issuers/idp", weak), InvalidInputError)


async def test_tenants_are_made_disabled_and_enabled(door: RestDoor) -> None:
    made = await door.done("POST", f"{_ADMIN}/tenants", {"tenant": "acme"})
    problem_in(await door.call("POST", f"{_ADMIN}/tenants", {"tenant": "acme"}), ConflictError)
    assert (await door.done("GET", "/v1/whoami", key=made["secret"]))["tenant"] == "acme"
    await door.done("PUT", f"{_ADMIN}/tenants/acme", {"disabled": True})
    problem_in(await door.call("GET", "/v1/whoami", key=made["secret"]), UnauthenticatedError)
    await door.done("PUT", f"{_ADMIN}/tenants/acme", {"disabled": False})
    await door.done("GET", "/v1/whoami", key=made["secret"])
    theirs = await door.call("POST", f"{_ADMIN}/tenants", {"tenant": "b"}, key=made["secret"])
    problem_in(theirs, PermissionDeniedError)
    own = await door.call("PUT", f"{_ADMIN}/tenants/default", {"disabled": True})
    problem_in(own, ConflictError)


async def test_nobody_locks_itself_out(door: RestDoor) -> None:
    answer = await door.call("PUT", f"{_ADMIN}/principals/user:admin", {"roles": []})
    problem_in(answer, ConflictError)


async def test_the_log_of_policy_changes_is_paged(door: RestDoor) -> None:
    await door.done("PUT", f"{_ADMIN}/principals/user:p1", {})
    await door.done("PUT", f"{_ADMIN}/principals/user:p2", {})
    seen: list[int] = []
    cursor = "0"
    while cursor is not None:
        page = await door.done("GET", f"{_ADMIN}/log", params={"after": cursor, "limit": 5})
        seen += [int(one["position"].partition(":")[2]) for one in page["entries"]]
        cursor = page["cursor"]
    assert seen == sorted(set(seen)) and len(seen) > 5
