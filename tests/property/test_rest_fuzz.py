"""Whatever is sent to whichever route, the answer is a success or a problem that names itself."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_ray.config import LimitSettings
from memos_ray.errors import all_errors
from memos_ray.gateway.problem_model import Problem
from memos_ray.gateway.problems import MEDIA_TYPE
from memos_ray.testing.models import QuotingModel
from memos_ray.testing.rest_door import RestDoor, rest_door

_CODES = {cls.code for cls in all_errors()}
_KNOWN_ID = "known-1"
_CANARY = "walrus"

_BODIES: dict[tuple[str, str], list[Any]] = {
    ("POST", "/v1/memories"): [
        {
            "text": f"{_CANARY} in Lisbon",
            "tags": ["a"],
            "event_time": "2023-05-01T10:00:00Z",
            "mentions": [{"start": "2023-05-01T00:00:00Z", "end": "2023-05-02T00:00:00Z"}],
            "sources": [{"uri": "x", "item": "1", "memory_id": "m", "version": 1}],
            "attachments": [{"digest": "ab", "media_type": "a/b", "size_bytes": 3}],
            "attributes": {"n": 1, "s": "x", "b": True, "f": 0.5},
            "readers": ["user:ann"],
            "half_life_s": 60.0,
            "priority": 3,
            "position": 4,
            "idempotency_key": "k",
        },
        {"memories": [{"text": "one", "tags": ["a"]}, {"text": "two", "position": 3}]},
    ],
    ("PATCH", "/v1/memories/{id}"): [
        {
            "text": "new",
            "mode": "merge",
            "tags": ["b"],
            "attributes": {"x": 1},
            "expires_at": "2033-05-01T00:00:00Z",
            "priority": 1,
            "expected_version": 1,
        }
    ],
    ("POST", "/v1/snapshots"): [{"name": "first", "namespace": "user:admin", "reason": "r"}],
    ("POST", "/v1/past/rollback"): [{"to": "2023-05-01T10:00:00Z", "namespace": "user:admin"}],
    ("POST", "/v1/branches"): [
        {"name": "trial", "namespace": "user:admin", "at": "2023-05-01T10:00:00Z", "reason": "r"}
    ],
    ("POST", "/v1/branches/{name}/merge"): [{"reason": "r"}],
    ("POST", "/v1/branches/{name}/memories"): [{"text": f"the {_CANARY}", "tags": ["a"]}],
    ("PATCH", "/v1/branches/{name}/memories/{id}"): [{"text": "new", "expected_version": 1}],
    ("POST", "/v1/branches/{name}/search"): [{"query": f"where is the {_CANARY}?"}],
    ("POST", "/v1/memories/{id}/archive"): [{"reason": "r", "idempotency_key": "k"}],
    ("POST", "/v1/memories/{id}/hold"): [{"reason": "r", "idempotency_key": "k"}],
    ("POST", "/v1/memories/{id}/release"): [{"reason": "r", "idempotency_key": "k"}],
    ("POST", "/v1/memories/{id}/restore"): [{"reason": "r", "idempotency_key": "k"}],
    ("POST", "/v1/memories/{id}/rollback"): [{"to": 1, "expected_version": 2, "reason": "r"}],
    ("POST", "/v1/memories/{id}/share"): [
        {"readers": ["user:ann"], "writers": ["role:x"], "remove": [], "visibility": "shared"}
    ],
    ("POST", "/v1/memories/{id}/freeze"): [{"reason": "r"}],
    ("POST", "/v1/memories/{id}/unfreeze"): [{"reason": "r"}],
    ("POST", "/v1/search"): [
        {
            "query": f"where is the {_CANARY}?",
            "namespaces": ["user:admin", "user:admin/x"],
            "filter": "tags:a and priority > 1",
            "tags": ["a"],
            "since": "2023-05-01T00:00:00Z",
            "limit": 3,
            "explain": True,
            "as_of": "2033-05-01T00:00:00Z",
        },
        {"query": "x", "filter": {"and": [{"field": "tags", "op": "any", "value": ["a"]}]}},
    ],
    ("POST", "/v1/understand"): [
        {
            "query": f"and what did the {_CANARY} do the week before her birthday?",
            "turns": [
                {"role": "user", "content": "Where does Ann live?", "name": "Bo"},
                {"role": "assistant", "content": [{"type": "text", "text": "In Rome."}]},
            ],
            "namespaces": ["user:admin"],
        }
    ],
    ("POST", "/v1/chat/completions"): [
        {
            "model": "quoting",
            "messages": [{"role": "user", "content": f"where is the {_CANARY}?"}],
            "memory": "read_write",
            "namespaces": ["user:admin"],
            "session": "s",
            "temperature": 0.5,
            "max_tokens": 3,
            "stop": ["x"],
        },
        {
            "model": "quoting",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ],
    ("POST", "/v1/completions"): [
        {
            "model": "quoting",
            "prompt": f"the {_CANARY} is",
            "memory": "read_write",
            "max_tokens": 3,
            "stop": "x",
            "user": "Ann",
        },
        {"model": "quoting", "prompt": ["x"], "stream": True, "logprobs": None, "n": 1},
    ],
    ("POST", "/v1/embeddings"): [
        {"model": "hashing-384", "input": [f"the {_CANARY}", "x"], "encoding_format": "base64"},
        {"model": "hashing-384", "input": "x", "dimensions": 384, "user": "Ann"},
    ],
    ("POST", "/v1/convert"): [{"ids": ["x"], "model": "quoting", "namespace": "user:admin"}],
    ("POST", "/v1/ingest"): [
        {"content": [{"role": "user", "content": "hello", "time": "2023-05-01T10:00:00Z"}]},
        {"content": {"conversations": [{"id": "c", "turns": [{"speaker": "A", "text": "x"}]}]}},
        {"text": "# Title\n\nSome words.\n"},
    ],
    ("POST", "/v1/adapters"): [{"ids": ["x"], "model": "quoting", "namespace": "user:admin"}],
    ("POST", "/v1/adapters/merge"): [
        {"ids": ["x", "y"], "method": "ties", "weights": [1, 0.5], "density": 0.5}
    ],
    ("POST", "/v1/adapters/import"): [{"ids": ["x"], "model": "quoting"}],
    ("POST", "/v1/adapters/{id}/externalise"): [{"probe": False}],
    ("POST", "/v1/pipelines/validate"): [
        {
            "name": "p",
            "parameters": {"x": {"default": 1}},
            "steps": [
                {"kind": "retrieve", "id": "a", "query": "{params.x}", "filter": "tags:a"},
                {"kind": "augment", "id": "b", "template": "{a.text}", "when": "a.count > 0"},
                {"kind": "tag", "id": "c", "of": "a", "tags": ["t"], "needs": ["a"]},
            ],
        }
    ],
    ("POST", "/v1/pipelines/runs"): [
        {
            "definition": {
                "name": "p",
                "steps": [{"kind": "augment", "id": "b", "template": "x"}],
            },
            "params": {},
            "idempotency_key": "k",
        },
        {"template": "p", "version": 1, "namespace": "user:admin", "params": {"x": 1}},
    ],
    ("PUT", "/v1/pipelines/templates/{name}"): [
        {"name": "user:ann", "steps": [{"kind": "create", "id": "b", "text": "x"}]}
    ],
    ("PUT", "/v1/organise/automatic"): [{"automatic": True}],
    ("POST", "/v1/reuse"): [{"task": "tea"}, {"task": "tea", "namespaces": ["x"], "limit": 2}],
    ("POST", "/v1/sources"): [
        {"name": "g", "issuer": "i", "valid_from": "2026-01-01T00:00:00Z", "text": "# A\nb 1."},
        {"name": "g", "issuer": "i", "valid_from": "2026-01-01T00:00:00Z", "pdf": "JVBERi0xLjc="},
    ],
    ("POST", "/v1/sources/findings/accept"): [{"ids": ["x"]}, {"source": "x"}],
    ("POST", "/v1/sources/findings/refuse"): [{"ids": ["x"]}],
    ("PUT", "/v1/personas/{name}"): [
        {"name": "x"},
        {"name": "x", "role": "x", "stream": "{home}/x", "shared": ["{home}"], "tags": ["a"]},
        {"name": "x", "purpose": "care", "preface": "Be brief.", "half_life_s": 60.0},
        {"name": "x", "creates": [{"name": "{home}/x/y"}, {"name": "p", "members": ["*"]}]},
    ],
    ("PUT", "/v1/evolution/mode"): [{"mode": "propose"}],
    ("POST", "/v1/feedback"): [
        {"memory_id": "m", "useful": True, "note": "n"},
        {"response": "r", "useful": False},
    ],
    ("POST", "/v1/topics/route"): [{"query": "who likes tea?"}, {"query": ""}],
    ("PUT", "/v1/extraction/automatic"): [{"automatic": True}],
    ("POST", "/v1/extraction/retry"): [{"job": "x"}, {}],
    ("PUT", "/v1/kv/{id}/pin"): [{"pinned": False}],
    ("PUT", "/v1/admin/principals/{id}"): [{"roles": [], "disabled": False}],
    ("PUT", "/v1/admin/roles/{name}"): [
        {"rules": [{"id": "r", "effect": "allow", "actions": ["read"], "namespaces": ["p"]}]}
    ],
    ("PUT", "/v1/admin/rules/{id}"): [
        {
            "effect": "allow",
            "actions": ["read"],
            "namespaces": ["p"],
            "subjects": ["user:ann"],
            "memories": {"tags": ["a"]},
            "when": {"purposes": ["x"], "windows": [{"start": "08:00", "end": "17:00"}]},
        }
    ],
    ("POST", "/v1/admin/grants"): [
        {"subject": "user:ann", "actions": ["read"], "namespace": "user:admin", "reach": "shared"}
    ],
    ("POST", "/v1/admin/keys"): [{"principal": "user:ann", "scopes": ["read"]}],
    ("POST", "/v1/admin/keys/{id}/rotate"): [{"overlap_s": 1.5}],
    ("POST", "/v1/admin/keys/{id}/expire"): [{"at": "2033-05-01T00:00:00Z"}],
    ("PUT", "/v1/admin/namespaces/{name}"): [
        {"kind": "contextual_pool", "members": ["user:ann"], "quota_bytes": 1000}
    ],
    ("PUT", "/v1/admin/issuers/{id}"): [
        {
            "issuer": "https://idp.example",
            "audience": "memos",
            "keys": [{"id": "k", "algorithm": "EdDSA", "jwk": "{}"}],
        }
    ],
    ("POST", "/v1/admin/tenants"): [{"tenant": "acme"}],
    ("PUT", "/v1/admin/tenants/{tenant}"): [{"disabled": True}],
}

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["", "\0", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "user:admin", "*"]
    ),
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
_WORDS = st.one_of(
    st.text(max_size=30),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["true", "user:admin", "tags:a", "now-7d", "2023-05-01T00:00:00Z", "AAAA"]),
)


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation of the OpenAPI document, and the names of its parameters by place."""

    method: str
    path: str
    parameters: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class _Request:
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    content: bytes | None


@st.composite
def _mutated(draw: st.DrawFn, example: Any) -> Any:
    """Changes one or two places of a good body: another value, one less, or one more."""
    body = json.loads(json.dumps(example))
    for _ in range(draw(st.integers(0, 2))):
        parent: Any = None
        key: Any = None
        node = body
        while isinstance(node, dict | list) and node and (parent is None or draw(st.booleans())):
            parent = node
            key = draw(
                st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node)))
            )
            node = node[key]
        if parent is None:
            return draw(_JSON)
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "remove":
                del parent[key]
            case "add" if isinstance(parent, dict):
                parent[draw(st.text(max_size=8))] = draw(_JSON)
            case _:
                parent[key] = draw(_JSON)
    return body


def _contents(operation: _Operation) -> st.SearchStrategy[bytes | None]:
    examples = _BODIES.get((operation.method, operation.path))
    if examples is None:
        return st.none()
    bodies = st.one_of(*(_mutated(example) for example in examples), _JSON)
    written = bodies.map(lambda body: json.dumps(body).encode())
    return written | st.binary(max_size=40)


@st.composite
def _requests(draw: st.DrawFn, operation: _Operation) -> _Request:
    path = operation.path
    for name in operation.parameters["path"]:
        value = draw(st.sampled_from([_KNOWN_ID, "user:ann"]) | st.text(min_size=1, max_size=30))
        path = path.replace("{" + name + "}", quote(value, safe=""))
    names = operation.parameters["query"]
    pairs = st.tuples(st.sampled_from(names), _WORDS) if names else st.nothing()
    headers = draw(
        st.dictionaries(
            st.sampled_from(["Idempotency-Key", "X-Memos-Purpose", "X-Memos-Application"]),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
            max_size=1,
        )
    )
    return _Request(
        path,
        draw(st.lists(pairs, max_size=2)) if names else [],
        {**headers, "Content-Type": "application/json"},
        draw(_contents(operation)),
    )


class _Keeper(logging.Handler):
    """Keeps what the service and the event loop log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("memos_ray", "asyncio")):
            self.records.append(record)


@dataclass(frozen=True, slots=True)
class _Fuzzed:
    """A door and the loop that it lives on."""

    runner: asyncio.Runner
    door: RestDoor
    plane: str

    def operations(self) -> list[_Operation]:
        found = []
        for path, item in self.door.app.openapi()["paths"].items():
            if path.startswith("/v1/admin") is not (self.plane == "admin"):
                continue
            for method, operation in item.items():
                parameters: dict[str, list[str]] = {"path": [], "query": [], "header": []}
                for parameter in operation.get("parameters", ()):
                    parameters[parameter["in"]].append(parameter["name"])
                found.append(_Operation(method.upper(), path, parameters))
        return found

    def send(self, method: str, request: _Request) -> httpx.Response:
        return self.runner.run(
            self.door.call(
                method,
                request.path,
                params=request.query,
                headers=request.headers,
                content=request.content,
            )
        )


@pytest.fixture(scope="module", params=["memory", "admin"])
def fuzzed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Fuzzed]:
    # Administration is fuzzed apart: rules made at random must not close the memory routes.
    keeper, root = _Keeper(), logging.getLogger()
    root.addHandler(keeper)
    limits = LimitSettings(text_bytes=1000, batch_items=5, request_bytes=50_000)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder = tmp_path_factory.mktemp(request.param)
        models = {"quoting": QuotingModel()}
        door = runner.run(
            stack.enter_async_context(rest_door(folder, limits=limits, models=models))
        )
        runner.run(door.done("POST", "/v1/memories", {"text": _CANARY, "id": _KNOWN_ID}))
        yield _Fuzzed(runner, door, request.param)
        runner.run(stack.aclose())
    root.removeHandler(keeper)
    lines = [keeper.format(record) for record in keeper.records]
    assert [line for line in lines if _CANARY in line or "Traceback" in line] == []
    assert [record for record in keeper.records if record.levelno >= logging.ERROR] == []


def _hammer(fuzzed: _Fuzzed, operation: _Operation) -> None:
    @settings(max_examples=12)
    @given(_requests(operation))
    def check(request: _Request) -> None:
        answer = fuzzed.send(operation.method, request)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == MEDIA_TYPE
            assert Problem.model_validate_json(answer.content).code in _CODES

    check()


def test_no_request_breaks_a_route(fuzzed: _Fuzzed) -> None:
    operations = fuzzed.operations()
    assert len(operations) > 10
    for operation in operations:
        _hammer(fuzzed, operation)


def test_every_route_that_takes_a_body_is_sent_good_ones(fuzzed: _Fuzzed) -> None:
    document = fuzzed.door.app.openapi()["paths"]
    for operation in fuzzed.operations():
        takes_one = "requestBody" in document[operation.path][operation.method.lower()]
        assert takes_one is ((operation.method, operation.path) in _BODIES)
