"""OPER-1: with a model, topics get titles in its words, behind whoever looks; it is real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray.core.generation.requests import estimated_tokens
from memos_ray.gateway.browsing.models import TopicList
from memos_ray.testing.openai_endpoint import Endpoint, Reply, answer, openai_endpoint
from tests.unit.service.test_extraction import QUICK, Bench, opened
from tests.unit.service.test_topics import GARDEN, MUSIC, add


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        yield found


@pytest.fixture
async def bench(tmp_path: Path, server: tuple[str, Endpoint]) -> AsyncIterator[Bench]:
    server[1].reset()
    async with opened(tmp_path, server) as made:
        yield made


def naming(body: dict[str, Any]) -> Reply:
    """Names every group, the first one with a name that is nowhere."""
    groups = json.loads(body["messages"][-1]["content"])
    titles = [{"id": one["id"], "title": "things of old"} for one in groups]
    titles[0]["title"] = "songs for Miranda"
    return answer(json.dumps({"titles": titles}))


async def topics(bench: Bench) -> TopicList:
    return await bench.memos.doorway.browsing.topics(bench.admin)


async def titled(bench: Bench) -> TopicList:
    async with asyncio.timeout(60):
        while True:
            found = await topics(bench)
            if any(one.titled_by for one in found.topics):
                return found
            await asyncio.sleep(0.02)


async def test_OPER_1_topics_are_in_the_words_of_memories_until_a_model_names_them(
    bench: Bench,
) -> None:
    bench.endpoint.script = [naming]
    await add(bench.memos, [*MUSIC, *GARDEN])
    first = await topics(bench)
    assert not any(one.titled_by for one in first.topics)
    found = await titled(bench)
    named = [one for one in found.topics if one.titled_by]
    assert {one.label for one in named} == {"things of old"}
    # Refused for a name that no word tells: it keeps its words, and is not asked again.
    (kept,) = [one for one in found.topics if not one.titled_by]
    assert kept.label in {one.label for one in first.topics}
    await topics(bench)
    (asked,) = bench.endpoint.asked
    sent = json.dumps(asked[-1])
    assert not any(text in sent for text in (*MUSIC, *GARDEN))
    page = await bench.memos.doorway.browsing.topic(bench.admin, "things of old")
    assert page.topic.id in {one.id for one in named}


async def test_OPER_1_a_model_that_is_away_leaves_topics_their_words(bench: Bench) -> None:
    bench.endpoint.script = [Reply(status=503, body={})] * 9
    await add(bench.memos, [*MUSIC, *GARDEN])
    for _ in range(3):
        found = await topics(bench)
        assert found.topics
        assert not any(one.titled_by for one in found.topics)


async def test_OPER_1_a_model_that_is_away_is_no_try_of_a_title(bench: Bench) -> None:
    away = [Reply(status=503, body={})] * 12
    bench.endpoint.script = [*away, naming]
    await add(bench.memos, [*MUSIC, *GARDEN])
    assert [one.titled_by for one in (await titled(bench)).topics if one.titled_by]
    assert len(bench.endpoint.asked) > len(away)


def tokens_of(body: dict[str, Any]) -> int:
    return sum(estimated_tokens(one["content"]) for one in body["messages"])


def of_all(body: dict[str, Any]) -> Reply:
    """Names every group."""
    groups = json.loads(body["messages"][-1]["content"])
    return answer(
        json.dumps({"titles": [{"id": one["id"], "title": "things of old"} for one in groups]})
    )


async def test_OPER_1_no_question_for_titles_is_longer_than_it_may_be(
    tmp_path: Path, server: tuple[str, Endpoint]
) -> None:
    server[1].reset()
    server[1].script = [of_all]
    async with opened(tmp_path / "whole", server) as bench:
        await add(bench.memos, [*MUSIC, *GARDEN])
        await titled(bench)
        whole = server[1].asked[0]
        assert len(json.loads(whole[-1]["messages"][-1]["content"])) > 1
    server[1].reset()
    server[1].script = [of_all]
    # How the memories fall into groups is not the same each time.
    most = tokens_of(whole[-1]) - estimated_tokens(whole[-1]["messages"][-1]["content"]) // 2
    settings = QUICK.model_copy(update={"prompt_tokens": most})
    async with opened(tmp_path / "parts", server, settings) as bench:
        await add(bench.memos, [*MUSIC, *GARDEN])
        async with asyncio.timeout(60):
            while not all(one.titled_by for one in (await topics(bench)).topics):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert len(server[1].asked) > 1
        assert all(tokens_of(one[-1]) <= most for one in server[1].asked)
    server[1].reset()
    server[1].script = [of_all]
    settings = QUICK.model_copy(update={"prompt_tokens": 10})
    async with opened(tmp_path / "none", server, settings) as bench:
        await add(bench.memos, [*MUSIC, *GARDEN])
        await topics(bench)

        async def refused() -> int:
            counts = [(await one.status()).counters for one in bench.memos.crew.shards.values()]
            return sum(one.get("topics_titles_refused", 0) for one in counts)

        async with asyncio.timeout(60):
            while await refused() < 2:
                found = await topics(bench)
                await asyncio.sleep(0.02)
        assert not any(one.titled_by for one in found.topics)
        assert server[1].asked == []
