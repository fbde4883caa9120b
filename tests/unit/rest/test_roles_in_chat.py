"""Conversations in a role, through OpenAI's routes: preface, dialogue, forms, the answer's id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from memos_ray.testing.models import QuotingModel
from memos_ray.testing.rest_door import RestDoor, rest_door

PATH = "/v1/chat/completions"
ROLE = {"X-Memos-Role": "doctor"}
TALK = [
    {"role": "user", "content": "Does Dolores play the guitar?"},
    {"role": "assistant", "content": "Yes, Dolores plays the guitar."},
    {"role": "user", "content": "Where did she learn that?"},
]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[RestDoor]:
    async with rest_door(tmp_path, models={"quoting": QuotingModel()}) as opened:
        persona = {"name": "doctor", "preface": "You assist a doctor."}
        await opened.done("PUT", "/v1/personas/doctor", persona)
        text = "Dolores learnt the guitar from an old sailor in Cadiz."
        await opened.done("POST", "/v1/memories", {"id": "cadiz", "text": text}, headers=ROLE)
        yield opened


async def asked(door: RestDoor, stream: bool) -> tuple[str, dict[str, Any]]:
    """Text of an answer, and what it says of memories; of a stream all of it together."""
    body = {"model": "quoting", "messages": TALK, "explain": True, "session": "s"}
    answer = await door.call("POST", PATH, {**body, "stream": stream}, headers=ROLE)
    assert answer.is_success, answer.text
    if not stream:
        whole = answer.json()
        return whole["choices"][0]["message"]["content"], whole["memory"]
    text, memory = "", dict[str, Any]()
    for line in answer.text.splitlines():
        if line.startswith("data: {"):
            chunk = orjson.loads(line.removeprefix("data: "))
            text += "".join(one["delta"].get("content") or "" for one in chunk["choices"])
            memory |= {name: told for name, told in chunk.get("memory", {}).items() if told}
    return text, memory


@pytest.mark.parametrize("stream", [False, True])
async def test_APP_4_a_role_talks_with_all_that_a_conversation_has(
    door: RestDoor, stream: bool
) -> None:
    text, memory = await asked(door, stream)
    assert "You assist a doctor." in text and "old sailor in Cadiz" in text
    (used,) = memory["used"]
    assert (used["id"], used["namespace"]) == ("cadiz", "user:admin/doctor")
    (choice,) = memory["explanation"]["memories"]
    assert (choice["id"], choice["form"]) == ("cadiz", "plaintext")
    await door.memos.doorway.chats.settle()
    praise = {"response": memory["response"], "useful": True}
    # Only in the role that was used: nobody else has had the answer.
    assert (await door.call("POST", "/v1/feedback", praise)).status_code == 404
    kept = await door.done("POST", "/v1/feedback", praise, headers=ROLE)
    assert kept["worth"]["cadiz"] >= 1
