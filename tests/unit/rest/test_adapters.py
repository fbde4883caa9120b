"""Adapters over REST: what is no form of an adapter, and what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from memos_ray.core.parameter.peft_format import PeftFiles, to_peft
from memos_ray.errors import (
    InvalidInputError,
    MemosError,
    NotFoundError,
    PayloadTooLargeError,
    UnauthenticatedError,
)
from memos_ray.testing.engines import HASHING_SHAPES
from memos_ray.testing.random_adapters import random_adapter
from memos_ray.testing.rest_door import RestDoor, problem_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

_IMPORT = "/v1/adapters/import"
_FILES: PeftFiles = to_peft(random_adapter("hashing", HASHING_SHAPES, seed=1))
_FORM: dict[str, Any] = {
    "about": (None, b'{"ids": ["absent"], "model": "hashing"}', "application/json"),
    "config": ("adapter_config.json", _FILES.config),
    "weights": ("adapter_model.safetensors", _FILES.part(0, _FILES.size_bytes)),
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, NotFoundError),
        ({"about": None}, InvalidInputError),
        ({"about": (None, b"{")}, InvalidInputError),
        ({"about": (None, b'{"ids": [], "model": "hashing"}')}, InvalidInputError),
        ({"about": ("about.json", b"{}")}, InvalidInputError),
        ({"config": None}, InvalidInputError),
        ({"config": ("adapter_config.json", b"[]")}, InvalidInputError),
        ({"weights": None}, InvalidInputError),
        ({"weights": (None, b"x")}, InvalidInputError),
        ({"weights": ("adapter_model.bin", b"PK\x03\x04")}, InvalidInputError),
        ({"more": (None, b"x")}, InvalidInputError),
    ],
)
async def test_a_form_that_cannot_be_taken(
    door: RestDoor, changed: dict[str, Any], expected: type[MemosError]
) -> None:
    form = {name: part for name, part in {**_FORM, **changed}.items() if part is not None}
    problem_in(await door.call("POST", _IMPORT, files=form), expected)


async def test_what_is_no_form(door: RestDoor) -> None:
    problem_in(await door.call("POST", _IMPORT, {"ids": ["x"]}), InvalidInputError)
    problem_in(await door.call("POST", _IMPORT, files=_FORM, key=""), UnauthenticatedError)
    large = {**_FORM, "weights": ("adapter_model.safetensors", bytes(65 << 20))}
    problem_in(await door.call("POST", _IMPORT, files=large), PayloadTooLargeError)


@pytest.mark.parametrize("file", ["config", "weights"])
async def test_an_adapter_that_is_not_there(door: RestDoor, file: str) -> None:
    problem_in(await door.call("GET", f"/v1/adapters/absent/{file}"), NotFoundError)


async def test_a_merge_of_what_is_not_there(door: RestDoor) -> None:
    answer = await door.call("POST", "/v1/adapters/merge", {"ids": ["a", "b"]})
    problem_in(answer, NotFoundError)
    for bad in ({"ids": ["a"]}, {"ids": ["a", "b"], "density": 1}, {"ids": ["a", "b"], "x": 1}):
        problem_in(await door.call("POST", "/v1/adapters/merge", bad), InvalidInputError)


async def test_a_proposal_that_is_not_there(door: RestDoor) -> None:
    assert await door.done("GET", "/v1/adapters/proposals") == {"proposals": []}
    for act in ("accept", "refuse"):
        path = f"/v1/adapters/proposals/absent/{act}"
        problem_in(await door.call("POST", path), NotFoundError)
        problem_in(await door.call("POST", path, key=""), UnauthenticatedError)
