"""The OpenAPI document is valid, complete, and names every error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from openapi_spec_validator import validate

from memos_ray import errors
from memos_ray.errors import all_errors
from memos_ray.gateway.problems import MEDIA_TYPE
from memos_ray.testing.rest_door import RestDoor

pytestmark = pytest.mark.asyncio(loop_scope="module")

_OPEN = {"/healthz", "/readyz", "/metrics", "/version"}


@pytest.fixture
async def document(door: RestDoor) -> dict[str, Any]:
    found: dict[str, Any] = await door.done("GET", "/openapi.json", key="")
    return found


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


async def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)


async def test_every_route_is_in_it(door: RestDoor, document: dict[str, Any]) -> None:
    routes = {
        (method, re.sub(r":path}", "}", route.path))
        for route in door.app.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert set(_operations(document)) == routes


def _calls(dependant: Dependant) -> Iterator[Any]:
    yield dependant.call
    for part in dependant.dependencies:
        yield from _calls(part)


async def test_nothing_of_a_request_waits_for_a_thread(door: RestDoor) -> None:
    """The framework runs plain functions in threads: four of them in each request, once."""
    routes = [route for route in door.app.routes if isinstance(route, APIRoute)]
    calls = {call for route in routes for call in _calls(route.dependant)}
    # An object that is called, and awaited, is no coroutine function itself.
    calls = {call for call in calls if not isinstance(call, HTTPBearer)}
    plain = [call for call in calls if not iscoroutinefunction(call)]
    assert len(calls) > len(routes)
    assert plain == []


async def test_every_operation_says_what_it_does_and_how_it_fails(
    document: dict[str, Any],
) -> None:
    names = []
    for (method, path), operation in _operations(document).items():
        assert operation["description"], path
        names.append(operation["operationId"])
        for status in ("4XX", "5XX"):
            schema = operation["responses"][status]["content"][MEDIA_TYPE]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, (method, path)
        assert bool(operation.get("security")) is (path not in _OPEN), path
    assert len(set(names)) == len(names)


async def test_every_error_is_listed_where_it_belongs(document: dict[str, Any]) -> None:
    responses = _operations(document)["POST", "/v1/memories"]["responses"]
    for cls in all_errors():
        if cls in (errors.MemosError, errors.ServerError):
            continue
        status = f"{cls.http_status // 100}XX"
        assert f"`{cls.code}` ({cls.http_status})" in responses[status]["description"]
    codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["examples"]
    assert set(codes) == {cls.code for cls in all_errors()}


async def test_bulk_answers_may_be_mixed(document: dict[str, Any]) -> None:
    operations = _operations(document)
    assert "207" in operations["POST", "/v1/memories"]["responses"]
    assert "207" in operations["POST", "/v1/ingest"]["responses"]


async def test_no_reference_leads_nowhere(document: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/([\w-]+)", str(document)))
    assert named <= set(document["components"]["schemas"])
