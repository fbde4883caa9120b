"""A replica is killed under fifty conversations: nobody gets a wrong answer."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from memos_ray import AsyncMemOS
from memos_ray.config import Settings
from memos_ray.errors import MemosError, UnavailableError
from memos_ray.serving.handles import ModelHandle
from memos_ray.testing.recall import tiny_recall_path
from memos_ray.testing.recall.world import Fact, Split, draw_facts
from tests.optional import need

need("vllm")

pytestmark = [
    pytest.mark.fault,
    pytest.mark.asyncio(loop_scope="module"),
]

RECALL, SLOW = "tiny-recall", "slow"
CHATS = 50
FACTS = draw_facts(random.Random(11), 10, Split.HELD_OUT)


@dataclass
class Told:
    """What somebody heard who asked.

    Attributes:
        parts: pieces of the answer, as they came.
        error: what ended it.
    """

    parts: list[str] = field(default_factory=list)
    error: MemosError | None = None

    @property
    def text(self) -> str:
        return "".join(self.parts)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def memos(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AsyncMemOS]:
    common = {"path": tiny_recall_path(), "replicas_min": 2, "replicas_max": 2, "cpus": 0}
    recall = {
        "name": RECALL,
        "dtype": "float32",
        "context_tokens": 1024,
        "kv_bytes": 32 << 20,
        "shelf_bytes": 32 << 20,
        **common,
    }
    slow = {
        "name": SLOW,
        "engine": "custom",
        "factory": "memos_ray.testing.engines:slow_engine",
        "context_tokens": 2048,
        **common,
    }
    settings = Settings.model_validate(
        {
            "data": tmp_path_factory.mktemp("memos"),
            "models": [recall, slow],
            "vectors": {"enabled": False},
            "embedder": {
                "kind": "custom",
                "factory": "memos_ray.testing.embedders:HashingEmbedder",
            },
        }
    )
    async with AsyncMemOS(data=settings.data, settings=settings) as opened:
        await opened.add([{"text": fact.text} for fact in FACTS])
        yield opened


async def ask(
    memos: AsyncMemOS, model: str, fact: Fact, tokens: int, told: Told, begun: asyncio.Event
) -> None:
    """Asks about a fact, and notes what comes."""
    try:
        async for event in memos.chat_stream(
            fact.question, model, temperature=0.0, max_tokens=tokens
        ):
            if event.text:
                told.parts.append(event.text)
                begun.set()
    except MemosError as error:
        told.error = error
    finally:
        begun.set()


async def whole(memos: AsyncMemOS, model: str, tokens: int) -> dict[str, str]:
    """Returns the answers to all questions while nothing happens to anybody."""
    answers = await asyncio.gather(
        *(memos.chat(fact.question, model, temperature=0.0, max_tokens=tokens) for fact in FACTS)
    )
    return {fact.question: answer.text for fact, answer in zip(FACTS, answers, strict=True)}


async def victim(model: str) -> int:
    """Returns the process of one replica; under load, a call of its own would come too late."""
    return (await ModelHandle(model).status()).pid


async def test_who_has_no_word_yet_is_answered_by_another(memos: AsyncMemOS) -> None:
    expected = await whole(memos, RECALL, tokens=4)
    right = [fact for fact in FACTS if fact.answer.lower() in expected[fact.question].lower()]
    assert len(right) >= 8, expected
    outcomes = [Told() for _ in range(CHATS)]
    doomed, first = await victim(RECALL), asyncio.Event()
    asked = [FACTS[number % len(FACTS)] for number in range(CHATS)]
    chats = [
        asyncio.create_task(ask(memos, RECALL, fact, 4, told, first))
        for fact, told in zip(asked, outcomes, strict=True)
    ]
    await first.wait()
    os.kill(doomed, signal.SIGKILL)
    await asyncio.gather(*chats)
    for fact, told in zip(asked, outcomes, strict=True):
        if told.error is None:
            assert told.text == expected[fact.question]
        else:
            # Only who had a word already hears of it.
            assert isinstance(told.error, UnavailableError) and told.parts, told
            assert expected[fact.question].startswith(told.text)
    assert await whole(memos, RECALL, tokens=4) == expected


async def test_who_hears_a_dead_one_is_told(memos: AsyncMemOS) -> None:
    tokens = 100
    expected, doomed = await whole(memos, SLOW, tokens), await victim(SLOW)
    outcomes = [Told() for _ in range(CHATS)]
    begun = [asyncio.Event() for _ in range(CHATS)]
    asked = [FACTS[number % len(FACTS)] for number in range(CHATS)]
    chats = [
        asyncio.create_task(ask(memos, SLOW, fact, tokens, told, event))
        for fact, told, event in zip(asked, outcomes, begun, strict=True)
    ]
    # More are under way than one replica has, hence on both; the others have not heard a word.
    async with asyncio.timeout(120):
        while sum(event.is_set() for event in begun) < 3 * CHATS // 4:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    os.kill(doomed, signal.SIGKILL)
    await asyncio.gather(*chats)
    cut = [told for told in outcomes if told.error is not None]
    assert 0 < len(cut) < CHATS
    for fact, told in zip(asked, outcomes, strict=True):
        if told.error is None:
            assert told.text == expected[fact.question]
        else:
            assert isinstance(told.error, UnavailableError), told
            assert told.parts and expected[fact.question].startswith(told.text)
            assert len(told.parts) < tokens
