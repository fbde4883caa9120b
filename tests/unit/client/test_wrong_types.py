"""What is no memory and no list of names is refused by name, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from memos_ray import AsyncMemOS
from memos_ray.errors import InvalidInputError


@pytest.mark.parametrize("memory", [None, 5, b"a text", ["a text", None], [["a text"]]])
async def test_what_is_no_memory(memos: AsyncMemOS, memory: Any) -> None:
    with pytest.raises(InvalidInputError, match="a memory is a text"):
        await memos.add(memory)
    assert (await memos.list()).memories == []


async def test_memories_may_come_one_by_one(memos: AsyncMemOS) -> None:
    report = await memos.add(f"Walrus {number}" for number in range(3))  # type: ignore[call-overload]
    assert [one.error for one in report.results] == [None] * 3


async def test_a_name_is_no_list_of_names(memos: AsyncMemOS) -> None:
    stored = await memos.add("Ana likes trains.")
    with pytest.raises(InvalidInputError, match="readers: Input should be a valid list"):
        await memos.share(stored.id or "", readers="user:bob")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"api_key": 5}, "api_key: Input should be a valid string"),
        ({"api_key": "mk_one\nmk_two"}, "api_key: must be printable ASCII"),
        ({"data": 5}, "data: Input is not a valid path"),
        ({"url": 8700}, "url: Input should be a valid string"),
        ({"address": 6379}, "address: Input should be a valid string"),
    ],
)
def test_what_is_no_place_and_no_credential(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told) as caught:
        AsyncMemOS(**given)
    assert "mk_" not in str(caught.value)


async def test_another_credential_has_its_form(memos: AsyncMemOS) -> None:
    with pytest.raises(InvalidInputError, match="api_key: must be printable ASCII"):
        memos.with_key("")
