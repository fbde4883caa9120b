"""The order among memories through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from memos_ray import AsyncMemOS, InvalidInputError, NotFoundError
from memos_ray.core.cube.predicted import Predicted
from memos_ray.core.organising.layers import Layer
from memos_ray.core.organising.relations import Relation
from memos_ray.gateway.browsing.models import TopicList

TEXTS = ("The guitar concert was loud.", "A guitar concert in May.", "Beans grow slowly.")


async def topics(memos: AsyncMemOS) -> TopicList:
    async with asyncio.timeout(60):
        while True:
            found = await memos.topics.list()
            if not found.waiting:
                return found
            await asyncio.sleep(0.01)


async def test_OPER_1_topics_tags_and_relations(memos: AsyncMemOS) -> None:
    ids = [(await memos.add(text)).id or "" for text in TEXTS]
    await memos.search("guitar", wait_indexed=True)
    found = await topics(memos)
    assert found.resident and sum(topic.memories for topic in found.topics) == len(TEXTS)
    topic = found.topics[0]
    page = await memos.topics.show(topic.id, limit=1)
    assert page.topic == topic and len(page.memories) == 1 and page.concept is None
    if topic.memories > 1:
        rest = await memos.topics.show(topic.id, limit=50, cursor=page.cursor)
        assert len(rest.memories) == topic.memories - 1
    tags = await memos.topics.tags(ids[0])
    assert {one.kind for one in tags.predicted} == set(Predicted)
    related = await memos.graph.related(ids[0])
    assert (Relation.SHARES, ids[1]) in {(one.relation, one.memory.id) for one in related.related}
    assert (await memos.graph.entities()).entities == []
    with pytest.raises(NotFoundError):
        await memos.topics.show("absent")
    with pytest.raises(NotFoundError):
        await memos.topics.tags("absent")
    with pytest.raises(InvalidInputError):
        await memos.topics.show("", limit=5)
    with pytest.raises(InvalidInputError):
        await memos.graph.entities(limit=0)


async def test_OPER_3_paths_and_layers(memos: AsyncMemOS) -> None:
    for text in TEXTS:
        await memos.add(text)
    layers = await memos.topics.layers()
    assert layers.layers[Layer.PRIVATE] == ["user:admin"]
    plan = await memos.topics.route("guitar concert")
    assert [step.namespace for step in plan.steps] == ["user:admin"]
    found = await memos.search("guitar concert", route=True, explain=True)
    assert found.understood["path"]["steps"][0]["namespace"] == "user:admin"
