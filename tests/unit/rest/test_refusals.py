"""Every kind of bad request gets its own problem document."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

import jwt as pyjwt
import orjson
import pytest

from memos_ray.core.access import keys
from memos_ray.errors import (
    ClientError,
    CredentialExpiredError,
    InvalidCursorError,
    InvalidFilterError,
    InvalidInputError,
    MemosError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PolicyUnavailableError,
    UnauthenticatedError,
    UnsupportedFormatError,
)
from memos_ray.gateway.paging import encode_token
from memos_ray.testing.rest_door import RestDoor, problem_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

_WALRUS = "walrus"
_SEARCH = "/v1/search"
_MEMORIES = "/v1/memories"
_EARLIEST = "0001-01-01T00:00:00+14:00"
_EARLIER, _LATER = "2023-05-01T00:00:00Z", "2024-05-01T00:00:00Z"
_LATEST = "9999-12-31T23:59:59-14:00"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ([], "body"),
        ("walrus", "body"),
        (7, "body"),
        ({}, "text: "),
        ({"text": None}, "text: "),
        ({"text": 7}, "text: "),
        ({"text": [_WALRUS]}, "text: "),
        ({"text": ""}, "text: "),
        ({"text": "nul \0"}, "text: "),
        ({"text": "a", "colour": _WALRUS}, "colour: "),
        ({"text": "a", "id": "not an id"}, "id: "),
        ({"text": "a", "id": "x" * 129}, "id: "),
        ({"text": "a", "tags": _WALRUS}, "tags: "),
        ({"text": "a", "tags": [""]}, "tags.0: "),
        ({"text": "a", "tags": ["x" * 257]}, "tags.0: "),
        ({"text": "a", "position": -1}, "position: "),
        ({"text": "a", "position": 2**62}, "position: "),
        ({"text": "a", "position": 1.5}, "position: "),
        ({"text": "a", "priority": 101}, "priority: "),
        ({"text": "a", "semantic_type": _WALRUS}, "semantic_type: "),
        ({"text": "a", "visibility": _WALRUS}, "visibility: "),
        ({"text": "a", "readers": ["bob"]}, "readers.0: "),
        ({"text": "a", "event_time": "yesterday"}, "event_time: "),
        ({"text": "a", "event_time": "2023-05-01T00:00:00"}, "event_time: "),
        ({"text": "a", "event_time": "2023"}, "event_time: "),
        ({"text": "a", "event_time": 1683550000}, "event_time: "),
        ({"text": "a", "event_time": _EARLIEST}, "event_time: "),
        ({"text": "a", "expires_at": _LATEST}, "expires_at: "),
        ({"text": "a", "mentions": [{"start": _EARLIEST, "end": "2023-05-01T00:00:00Z"}]}, "start"),
        ({"text": "a", "attributes": {"": 1}}, "attributes"),
        ({"text": "a", "attributes": {"a": [1]}}, "attributes"),
        ({"text": "a", "attributes": {"a": 2**63}}, "attributes"),
        ({"text": "a", "attributes": {"a": "x" * 4097}}, "attributes"),
        ({"text": "a", "half_life_s": 0}, "half_life_s: "),
        ({"text": "a", "half_life_s": 5, "expires_at": "2033-05-01T00:00:00Z"}, "half_life_s"),
        ({"text": "a", "valid_from": _LATER, "valid_to": _EARLIER}, "valid_to must lie behind"),
        ({"text": "a", "valid_from": _EARLIER, "valid_to": _EARLIER}, "valid_to must lie behind"),
        ({"text": "a", "language": "English"}, "language: "),
        ({"text": "a", "idempotency_key": ""}, "idempotency_key: "),
        ({"text": "a", "sources": [{"version": 2**70}]}, "version"),
        (
            {"text": "a", "attachments": [{"digest": "d", "media_type": "m", "size_bytes": -1}]},
            "si",
        ),
        ({"text": "a", "sources": [{"uri": "nul \0"}]}, "uri"),
        ({"text": "a", "reason": "nul \0"}, "reason"),
        ({"memories": []}, "memories: "),
        ({"memories": _WALRUS}, "memories: "),
        ({"memories": ["walrus"]}, "memories.0: "),
        ({"memories": [{"text": "a"}], "text": _WALRUS}, "text: "),
    ],
)
async def test_a_memory_that_does_not_fit(door: RestDoor, body: object, place: str) -> None:
    problem = problem_in(await door.call("POST", _MEMORIES, body), InvalidInputError)
    assert any(place in found for found in problem.details["errors"]), problem.details
    assert _WALRUS not in problem.model_dump_json()


@pytest.mark.parametrize(
    "change",
    [
        {"text": ""},
        {"mode": _WALRUS},
        {"expected_version": 0},
        {"expected_version": 2**70},
        {"half_life_s": 5, "expires_at": "2033-05-01T00:00:00Z"},
        {"event_time": _EARLIEST},
        {"valid_from": _LATER, "valid_to": _EARLIER},
        {"attributes": {"a": {}}},
        {"reason": "nul \0"},
        {"owner": "user:bob"},
    ],
)
async def test_a_change_that_does_not_fit(door: RestDoor, change: object) -> None:
    added = await door.done("POST", _MEMORIES, {"text": "steady"})
    path = f"{_MEMORIES}/{added['results'][0]['id']}"
    problem_in(await door.call("PATCH", path, change), InvalidInputError)
    assert (await door.done("GET", path))["version"] == 1


@pytest.mark.parametrize(
    ("method", "path", "arguments"),
    [
        ("POST", _SEARCH, {"json": {"limit": 0}}),
        ("POST", _SEARCH, {"json": {"limit": 1001}}),
        ("POST", _SEARCH, {"json": {"limit": "many"}}),
        ("POST", _SEARCH, {"json": {"namespaces": "user:admin"}}),
        ("POST", _SEARCH, {"json": {"namespaces": ["a b"]}}),
        ("POST", _SEARCH, {"json": {"query": "x" * 32_769}}),
        ("POST", _SEARCH, {"json": {"since": "soon"}}),
        ("POST", _SEARCH, {"json": {"since": _LATER, "until": _EARLIER}}),
        ("POST", _SEARCH, {"json": {"as_of": _EARLIEST}}),
        ("POST", _SEARCH, {"json": {"token": "no token"}}),
        ("POST", _SEARCH, {"json": {"filter": 7}}),
        ("POST", _SEARCH, {"json": {"walrus": True}}),
        ("GET", _MEMORIES, {"params": {"limit": 0}}),
        ("GET", _MEMORIES, {"params": {"limit": "x"}}),
        ("GET", _MEMORIES, {"params": {"namespace": "a b"}}),
        ("GET", _MEMORIES, {"params": {"include_deleted": "perhaps"}}),
        ("GET", _MEMORIES, {"params": {"namepsace": "user:admin"}}),
        ("DELETE", f"{_MEMORIES}/abc", {"params": {"hrad": True}}),
        ("POST", "/v1/ingest", {"params": {"fromat": "text"}, "json": {"text": "a"}}),
        ("GET", "/v1/whoami", {"params": {"verbose": 1}}),
        ("GET", f"{_MEMORIES}/a%20b", {}),
        ("GET", f"{_MEMORIES}/abc", {"params": {"version": 0}}),
        ("GET", f"{_MEMORIES}/abc", {"params": {"version": 2**70}}),
        ("GET", f"{_MEMORIES}/abc/diff", {"params": {"before": 1}}),
        ("POST", f"{_MEMORIES}/abc/rollback", {"json": {}}),
        ("POST", f"{_MEMORIES}/abc/rollback", {"json": {"to": 2**70}}),
        ("POST", f"{_MEMORIES}/abc/share", {"json": {"readers": ["everyone"]}}),
        ("DELETE", f"{_MEMORIES}/abc", {"params": {"reason": "x" * 1025}}),
        ("GET", "/v1/log", {"params": {"since": "2023-05-01"}}),
        ("GET", "/v1/log", {"params": {"until": _LATEST}}),
        ("GET", "/v1/admin/log", {"params": {"after": -1}}),
        ("PUT", "/v1/admin/principals/bob", {"json": {}}),
        ("PUT", "/v1/admin/rules/r1", {"json": {"effect": "allow"}}),
        ("POST", "/v1/admin/keys", {"json": {"principal": "user:bob", "scopes": ["fly"]}}),
        ("POST", "/v1/admin/keys", {"json": {"principal": "user:admin", "expires_at": _LATEST}}),
        ("POST", "/v1/admin/keys/k/expire", {"json": {"at": _LATEST}}),
        ("PUT", "/v1/admin/namespaces/a b", {"json": {"kind": "contextual_pool"}}),
        ("POST", "/v1/admin/tenants", {"json": {"tenant": "No Tenant"}}),
    ],
)
async def test_arguments_that_do_not_fit(
    door: RestDoor, method: str, path: str, arguments: dict[str, Any]
) -> None:
    problem = problem_in(await door.call(method, path, **arguments), InvalidInputError)
    assert problem.details


@pytest.mark.parametrize(
    ("filter", "position"),
    [
        ("tags:", 5),
        ("colour:blue", 0),
        ("priority:high", 0),
        ("tags:a and", 10),
        ("event_time > someday", 0),
        ("(" * 40 + "tags:a" + ")" * 40, 40),
        ("x" * 9000, None),
    ],
)
async def test_a_filter_that_nobody_understands(
    door: RestDoor, filter: str, position: int | None
) -> None:
    listed = await door.call("GET", _MEMORIES, params={"filter": filter})
    searched = await door.call("POST", _SEARCH, {"query": "x", "filter": filter})
    for answer in (listed, searched):
        problem = problem_in(answer, InvalidFilterError)
        if position is not None:
            assert problem.details["position"] == pytest.approx(position, abs=1)


async def test_a_structured_filter_says_where_it_is_wrong(door: RestDoor) -> None:
    filter = {"and": [{"field": "tags", "op": "any", "value": ["a"]}, {"not": {"op": "eq"}}]}
    answer = await door.call("POST", _SEARCH, {"filter": filter})
    assert problem_in(answer, InvalidFilterError).details["path"] == "/and/1/not"


def _sealed(content: object) -> str:
    """Makes a cursor with any content, as everybody can who has read the code."""
    body = orjson.dumps(content)
    check = blake2b(body, digest_size=6, person=b"memos-cursor").digest()
    return urlsafe_b64encode(check + body).decode().rstrip("=")


def _query_of(cursor: str) -> str:
    raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return str(orjson.loads(raw[6:])["q"])


@pytest.mark.parametrize(
    "cursor",
    [
        "walrus",
        "é",
        "AAAA",
        _sealed({"q": "another query", "at": 1, "id": "x"}),
        encode_token({1: 2}),
    ],
)
async def test_a_cursor_of_somewhere_else(door: RestDoor, cursor: str) -> None:
    for method, path, arguments in (
        ("GET", _MEMORIES, {"params": {"cursor": cursor}}),
        ("GET", "/v1/log", {"params": {"cursor": cursor}}),
        ("POST", _SEARCH, {"json": {"query": "x", "cursor": cursor}}),
    ):
        problem_in(
            await door.call(method, path, **arguments),  # type: ignore[arg-type]
            InvalidCursorError,
        )


@pytest.mark.parametrize(
    "position",
    [{}, {"offset": "1"}, {"offset": -1}, {"offset": 1.5}, {"offset": None}, {"offset": 2**40}],
)
async def test_a_forged_cursor_does_no_harm(door: RestDoor, position: dict[str, object]) -> None:
    # The check value of a cursor keeps typing errors out, not a determined caller.
    first = await door.done(
        "POST", _MEMORIES, {"memories": [{"text": f"forged {n}"} for n in range(3)]}
    )
    query = {"query": "forged", "limit": 1, "token": first["token"]}
    found = await door.done("POST", _SEARCH, query)
    digest = _query_of(found["cursor"])
    for forged in ({"q": digest, **position}, [1, 2], "q", {"q": digest, "offset": 1, "more": 1}):
        cursor = _sealed(forged)
        answer = await door.call("POST", _SEARCH, {**query, "cursor": cursor})
        problem_in(answer, InvalidCursorError)


async def _expect_unauthenticated(
    door: RestDoor, key: str, error: type[MemosError] = UnauthenticatedError
) -> None:
    for method, path in (("GET", "/v1/whoami"), ("GET", _MEMORIES), ("GET", "/v1/admin/documents")):
        answer = await door.call(method, path, key=key)
        problem_in(answer, error)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_nobody_gets_in_without_a_credential(door: RestDoor) -> None:
    await _expect_unauthenticated(door, "")
    answer = await door.client.get(_MEMORIES, headers={"Authorization": "Basic YTpi"})
    problem_in(answer, UnauthenticatedError)


async def test_keys_that_nobody_knows(door: RestDoor) -> None:
    genuine = door.memos.administrator.credential
    for key in (
        "mk_",
        "walrus",
        genuine[:-1],
        genuine[:-9] + ("a" if genuine[-9] != "a" else "b") + genuine[-8:],
        keys.mint("default", bytes(42)).secret,
        keys.mint("elsewhere", bytes(42)).secret,
        "a.b.c",
        "x" * 10_000,
    ):
        await _expect_unauthenticated(door, key)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"iss": 7, "aud": "memos"},
        {"iss": "https://idp.example", "aud": 7},
        {"iss": "https://idp.example", "aud": [{}, None]},
        {"iss": "https://idp.example", "aud": "memos", "sub": "ann"},
    ],
)
async def test_tokens_of_nobody(door: RestDoor, claims: dict[str, object]) -> None:
    for algorithm, secret in (("HS256", "x" * 32), ("none", "")):
        content = json.dumps(claims).encode()
        token = pyjwt.PyJWS().encode(content, secret, algorithm=algorithm)
        await _expect_unauthenticated(door, token)


async def test_a_revoked_key_is_over_at_once(door: RestDoor) -> None:
    await door.done("PUT", "/v1/admin/principals/user:ann", {})
    issued = await door.done("POST", "/v1/admin/keys", {"principal": "user:ann"})
    await door.done("GET", "/v1/whoami", key=issued["secret"])
    await door.done("DELETE", f"/v1/admin/keys/{issued['id']}")
    await _expect_unauthenticated(door, issued["secret"])


async def test_an_expired_key_says_so(door: RestDoor) -> None:
    await door.done("PUT", "/v1/admin/principals/user:bob", {})
    issued = await door.done("POST", "/v1/admin/keys", {"principal": "user:bob"})
    moment = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    await door.done("POST", f"/v1/admin/keys/{issued['id']}/expire", {"at": moment})
    await _expect_unauthenticated(door, issued["secret"], CredentialExpiredError)


async def test_a_role_that_the_caller_does_not_hold(door: RestDoor) -> None:
    answer = await door.call("GET", _MEMORIES, headers={"X-Memos-Role": "auditor"})
    problem_in(answer, PermissionDeniedError)


async def test_another_tenants_ids_do_not_exist(door: RestDoor) -> None:
    other = await door.done("POST", "/v1/admin/tenants", {"tenant": "other"})
    theirs = await door.done("POST", _MEMORIES, {"text": "ours alone"}, key=other["secret"])
    memory_id = theirs["results"][0]["id"]
    path = f"{_MEMORIES}/{memory_id}"
    for method, url, body in (
        ("GET", path, None),
        ("GET", f"{path}?version=1", None),
        ("GET", f"{path}/history", None),
        ("GET", f"{path}/diff?before=1&after=1", None),
        ("PATCH", path, {"text": "mine"}),
        ("DELETE", path, None),
        ("DELETE", f"{path}?hard=true", None),
        ("POST", f"{path}/restore", None),
        ("POST", f"{path}/rollback", {"to": 1}),
        ("POST", f"{path}/share", {"readers": ["user:admin"]}),
        ("POST", f"{path}/freeze", None),
        ("POST", f"{path}/hold", None),
        ("POST", f"{path}/release", None),
        ("DELETE", "/v1/admin/keys/" + other["id"], None),
    ):
        problem_in(await door.call(method, url, body), NotFoundError)
    same = await door.done("POST", _MEMORIES, {"text": "own", "id": memory_id})
    assert same["results"][0]["id"] == memory_id
    assert (await door.done("GET", path, key=other["secret"]))["text"] == "ours alone"


async def test_a_stranger_may_do_nothing(door: RestDoor) -> None:
    stranger = await door.key_of("agent:nobody")
    shared = await door.done("POST", _MEMORIES, {"text": "seen", "readers": ["agent:nobody"]})
    path = f"{_MEMORIES}/{shared['results'][0]['id']}"
    await door.done("GET", path, key=stranger)
    for method, url, body in (
        ("PATCH", path, {"text": "mine"}),
        ("DELETE", path, None),
        ("POST", f"{path}/share", {"readers": ["agent:else"]}),
        ("POST", f"{path}/hold", None),
        ("POST", f"{path}/release", None),
        ("GET", "/v1/admin/documents", None),
        ("GET", "/v1/admin/log", None),
        ("PUT", "/v1/admin/principals/agent:nobody", {"roles": ["admin"]}),
        ("POST", "/v1/admin/keys", {"principal": "user:admin"}),
        ("POST", "/v1/admin/tenants", {"tenant": "mine"}),
        ("PUT", "/v1/admin/tenants/default", {"disabled": True}),
    ):
        problem_in(await door.call(method, url, body, key=stranger), PermissionDeniedError)
    problem_in(
        await door.call(
            "POST", _MEMORIES, {"text": "x"}, key=stranger, params={"namespace": "user:admin"}
        ),
        NotFoundError,
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"text": "\xff\xfe walrus"}', "invalid_encoding"),
        (b'{"text": "walrus', "invalid_json"),
        (b"walrus", "invalid_json"),
        (b'{"text": "\\ud800"}', "invalid_json"),
        (b'{"text": NaN}', "invalid_json"),
        (b"[" * 100_000 + b"]" * 0, "invalid_json"),
        (b"", None),
    ],
)
async def test_bodies_that_are_no_json(door: RestDoor, content: bytes, reason: str | None) -> None:
    json_type = {"Content-Type": "application/json"}
    for method, path in (("POST", _MEMORIES), ("POST", _SEARCH), ("POST", "/v1/admin/keys")):
        answer = await door.call(method, path, content=content, headers=json_type)
        problem = problem_in(answer, InvalidInputError)
        if reason is not None:
            assert problem.details["reason"] == reason


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "jsonish"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
    ],
)
async def test_a_body_that_is_not_declared_as_plain_json(
    door: RestDoor, headers: dict[str, str]
) -> None:
    content = b'{"query": "walrus"}'
    answer = await door.call("POST", _SEARCH, content=content, headers=headers)
    name = list(headers)[-1] if headers else "Content-Type"
    assert problem_in(answer, UnsupportedFormatError).details == {"field": name}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json"])
async def test_json_may_have_other_names(door: RestDoor, kind: str) -> None:
    headers = {"Content-Type": kind, "Content-Encoding": "identity"}
    content = b'{"query": "walrus"}'
    assert (await door.call("POST", _SEARCH, content=content, headers=headers)).status_code == 200


async def test_names_that_do_not_fit_are_told_in_words(door: RestDoor) -> None:
    body = {"text": " \n", "id": "a/b", "readers": ["bob"]}
    problem = problem_in(await door.call("POST", _MEMORIES, body), InvalidInputError)
    assert problem.details["errors"] == [
        "body.text: must say something, not only blanks",
        "body.id: must be 1 to 128 letters, digits and . _ : - that begin with a letter or digit",
        "body.readers.0: must be a subject, such as user:ana, agent:planner or role:reader",
    ]


async def test_long_texts_and_bodies(door: RestDoor) -> None:
    long = await door.call("POST", _MEMORIES, {"text": "x" * 2001})
    assert problem_in(long, PayloadTooLargeError).details == {"limit": 2000, "found": 2001}
    huge = await door.call("POST", _MEMORIES, {"text": "x" * 10_000_000})
    assert problem_in(huge, PayloadTooLargeError).details == {"limit": 100_000}

    async def unannounced() -> Any:
        for _ in range(200):
            yield b" " * 1000

    json_type = {"Content-Type": "application/json"}
    streamed = await door.call("POST", _SEARCH, content=unannounced(), headers=json_type)
    problem_in(streamed, PayloadTooLargeError)
    many = {"text": "a", "tags": [f"t{n}" for n in range(65)]}
    problem_in(await door.call("POST", _MEMORIES, many), PayloadTooLargeError)
    named = {"text": "a", "attributes": {f"a{n}": n for n in range(65)}}
    problem_in(await door.call("POST", _MEMORIES, named), PayloadTooLargeError)


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "tab\there", "wälrus"])
async def test_request_ids_of_another_form(door: RestDoor, given: str) -> None:
    headers = {b"X-Request-Id": given.encode("latin-1")}
    answer = await door.client.get("/healthz", headers=headers)
    problem = problem_in(answer, InvalidInputError)
    assert problem.details == {"field": "X-Request-Id"}
    assert problem.request_id != given


async def test_a_request_id_comes_back(door: RestDoor) -> None:
    answer = await door.call("GET", "/v1/whoami", headers={"X-Request-Id": "abc.1:2-3_4"})
    assert answer.headers["x-request-id"] == "abc.1:2-3_4"
    minted = await door.call("GET", "/v1/whoami")
    assert len(minted.headers["x-request-id"]) == 32


async def test_paths_and_methods_that_are_not_there(door: RestDoor) -> None:
    problem_in(await door.call("GET", "/v1/walrus"), NotFoundError)
    wrong = await door.call("PUT", _SEARCH)
    problem_in(wrong, ClientError)
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "POST"


async def test_two_idempotency_keys_for_one_write(door: RestDoor) -> None:
    body = {"text": "x", "idempotency_key": "one"}
    answer = await door.call("POST", _MEMORIES, body, headers={"Idempotency-Key": "two"})
    assert problem_in(answer, InvalidInputError).details == {"field": "idempotency_key"}


async def test_a_policy_of_the_future_is_not_waited_for(door: RestDoor) -> None:
    ahead = {"X-Memos-Policy": str(2**61)}
    answer = await door.call("GET", "/v1/whoami", headers=ahead)
    problem_in(answer, PolicyUnavailableError)
    held = {"X-Memos-Policy": "1"}
    await door.done("GET", "/v1/whoami", headers=held)
    for bad in ("-1", "x", str(2**62)):
        answer = await door.call("GET", "/v1/whoami", headers={"X-Memos-Policy": bad})
        problem_in(answer, InvalidInputError)
