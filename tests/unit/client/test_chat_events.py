"""What a conversation says of itself comes through OpenAI's events as it was."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from memos_ray.client.http.chat import events_of
from memos_ray.core.cube.payload import Form
from memos_ray.gateway.chat.models import (
    ChatAnswer,
    ChatEvent,
    ChatQuery,
    ChatUsage,
    Explanation,
    Turn,
    UsedMemory,
    whole,
)
from memos_ray.gateway.chat.openai_streams import ChatChunks, encoded

QUERY = ChatQuery(model="m", messages=[Turn(role="user", content="Where does Ana live?")])
USAGE = ChatUsage(prompt_tokens=7, completion_tokens=2, cached_tokens=3)


def used(form: Form) -> UsedMemory:
    return UsedMemory(id="ana", version=1, namespace="user:ann", form=form, tokens=9)


async def through(*events: ChatEvent) -> ChatAnswer:
    """Sends events as a service does, and puts together what a client reads of them."""

    async def later() -> AsyncGenerator[ChatEvent, None]:
        for event in events[1:]:
            yield event

    chunks = ChatChunks("chatcmpl-1", 0, "m")
    text = encoded(events[0], later(), chunks, with_usage=True, request_id="r")
    body = "".join([part async for part in text])
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        return await whole(events_of(client, {}, QUERY))


async def test_SERVE_2_a_cache_that_did_not_fit_is_told_behind_the_answer() -> None:
    offered, came = used(Form.ACTIVATION), used(Form.PLAINTEXT)
    first = ChatEvent(memories=[offered], response="p3-1")
    last = ChatEvent(text="Lima", finish="stop", usage=USAGE)
    answer = await through(first, last)
    assert (answer.memories, answer.response) == ([offered], "p3-1")
    answer = await through(first, last.model_copy(update={"memories": [came]}))
    assert (answer.memories, answer.response, answer.text) == ([came], "p3-1", "Lima")


async def test_SERVE_2_an_explanation_and_what_was_stored_come_with_the_end() -> None:
    told = {"explanation": Explanation(memories=[]), "stored": ["a", "b"], "usage": USAGE}
    first = ChatEvent(memories=[used(Form.PLAINTEXT)], response="p3-1")
    answer = await through(first, ChatEvent(text="Lima", finish="stop", **told))
    assert answer.explanation == Explanation(memories=[])
    assert (answer.stored, answer.memories) == (["a", "b"], first.memories)
