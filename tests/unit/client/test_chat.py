"""Conversations through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray import AsyncMemOS, InvalidInputError, MemOS, NotFoundError, UnavailableError
from memos_ray.testing.http_door import HttpDoor, http_door
from memos_ray.testing.models import QuotingModel


@pytest.fixture
def model() -> QuotingModel:
    return QuotingModel()


@pytest.fixture
def parts(model: QuotingModel) -> dict[str, Any]:
    return {"models": {"quoting": model}}


async def test_an_answer_with_its_memories(memos: AsyncMemOS) -> None:
    stored = await memos.add("Ana lives in Lima.")
    answer = await memos.chat("Where does Ana live?", temperature=0.0, max_tokens=100)
    assert answer.text.split()[-8:] == "Ana lives in Lima. Where does Ana live?".split()
    assert [one.id for one in answer.memories] == [stored.id]
    assert (answer.finish, answer.stored) == ("stop", [])
    assert answer.usage.prompt_tokens == answer.usage.completion_tokens


async def test_it_streams_and_remembers(memos: AsyncMemOS) -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "I am Ana."}]
    events = [
        event
        async for event in memos.chat_stream(said, "quoting", memory="read_write", session="s")
    ]
    assert events[0].memories == []
    assert "".join(event.text for event in events) == "Be brief. I am Ana. "
    assert events[-1].finish == "stop" and len(events[-1].stored or []) == 2
    page = await memos.list()
    assert {memory.text for memory in page.memories} == {"I am Ana.", "Be brief. I am Ana. "}


async def test_leaving_early_cancels(memos: AsyncMemOS, model: QuotingModel) -> None:
    events = memos.chat_stream("word " * 5000, max_tokens=5000, memory="off")
    async for event in events:
        if event.text:
            break
    await events.aclose()
    answer = await memos.chat("still there?", memory="off")
    assert answer.text == "still there? "
    assert len(model.requests) == 2


async def test_errors_are_what_they_are(memos: AsyncMemOS, model: QuotingModel) -> None:
    with pytest.raises(NotFoundError):
        await memos.chat("hello", "absent")
    with pytest.raises(InvalidInputError):
        await memos.chat("hello", memory="always")
    with pytest.raises(InvalidInputError):
        await memos.chat([], "quoting")
    model.error = (1, UnavailableError("the replica has died"))
    with pytest.raises(UnavailableError):
        await memos.chat("one two three", memory="off")


async def test_the_models_are_listed(memos: AsyncMemOS) -> None:
    assert await memos.models() == ["quoting"]


@pytest.fixture
def door(model: QuotingModel, tmp_path: Path) -> Iterator[HttpDoor]:
    with http_door(tmp_path, {"one": model, "two": model}) as opened:
        yield opened


def test_the_synchronous_client(door: HttpDoor) -> None:
    with MemOS(url=door.url, api_key=door.admin_key) as memos:
        assert memos.models() == ["one", "two"]
        with pytest.raises(InvalidInputError, match="which model"):
            memos.chat("hello")
        assert memos.chat("hello there", "one", memory="off").text == "hello there "
        texts = [event.text for event in memos.chat_stream("a b", "two", memory="off")]
        assert "".join(texts) == "a b "
