"""Extraction through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray import AsyncMemOS, InvalidInputError, NotFoundError
from memos_ray.actors.extraction.extraction import ExtractionParts
from memos_ray.adapters.model_extractor import ModelExtractor
from memos_ray.adapters.openai_model import OpenAIModel
from memos_ray.config import ExtractionSettings
from memos_ray.core.cube.metadata import Origin
from memos_ray.gateway.extraction.models import ExtractionStatus
from memos_ray.testing.http_door import http_door
from memos_ray.testing.openai_endpoint import Endpoint, answer, openai_endpoint
from memos_ray.testing.reading import quoting, reading

SETTINGS = ExtractionSettings(attempts=1, retry_min_s=0.001, retry_max_s=0.001)
TURNS = [
    {"role": "user", "name": "Ana", "content": "I moved to Lisbon."},
    {"role": "user", "name": "Ana", "content": "I work for Acme."},
]


@pytest.fixture
def endpoint() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        found[1].script = [reading(quoting)]
        yield found


@pytest.fixture
def parts(endpoint: tuple[str, Endpoint]) -> dict[str, Any]:
    model = OpenAIModel(base_url=endpoint[0], model="remote")
    extractor = ModelExtractor("reader", model, limit_s=30.0)
    return {"extraction": ExtractionParts(extractor, SETTINGS)}


async def settled(memos: AsyncMemOS) -> ExtractionStatus:
    async with asyncio.timeout(60):
        while True:
            found = await memos.extraction.status()
            if not (found.lag or found.queued or found.running):
                return found
            await asyncio.sleep(0.01)


async def test_READ_3_an_ingest_is_extracted_behind_its_answer(memos: AsyncMemOS) -> None:
    report = await memos.ingest(TURNS, source="chat", conversation="chat", extract=True)
    assert (report.stored, report.failed) == (2, 0)
    status = await settled(memos)
    assert (status.model, status.read, status.memories, status.done) == ("reader", 2, 2, 1)
    page = await memos.list(filter="origin = inference")
    assert {one.text for one in page.memories} == {str(turn["content"]) for turn in TURNS}
    assert {one.origin for one in page.memories} == {Origin.INFERENCE}
    assert (await memos.add("I like tea.", extract=True)).version == 1
    assert (await settled(memos)).read == 3


async def test_READ_3_a_namespace_may_have_all_read(memos: AsyncMemOS) -> None:
    assert not (await memos.extraction.status()).automatic
    assert (await memos.extraction.automate()).automatic
    await memos.ingest(TURNS, source="chat", conversation="chat")
    made = await memos.add("Somebody likes tea.", origin="inference")
    assert (await settled(memos)).read == 2, "not what a machine has made"
    page = await memos.list(filter="origin = inference")
    assert len(page.memories) == 3 and made.id in {one.id for one in page.memories}
    assert not (await memos.extraction.automate(False)).automatic
    await memos.add("I like honey.")
    assert (await settled(memos)).read == 2


async def test_READ_3_what_was_parked_is_tried_again(
    memos: AsyncMemOS, endpoint: tuple[str, Endpoint]
) -> None:
    endpoint[1].script = [answer("Sorry.")]
    await memos.ingest(TURNS, source="chat", conversation="chat", extract=True)
    status = await settled(memos)
    (job,) = status.jobs
    assert (job.state, job.reason, status.parked) == ("parked", "invalid_input", 1)
    with pytest.raises(NotFoundError):
        await memos.extraction.retry("absent")
    endpoint[1].script = [reading(quoting)]
    assert (await memos.extraction.retry()).retried == 1
    assert (await settled(memos)).memories == 2
    assert (await memos.extraction.retry()).retried == 0


async def test_READ_3_without_a_model_it_is_refused_at_once(tmp_path: Path) -> None:
    with http_door(tmp_path) as door:
        async with AsyncMemOS(url=door.url, api_key=door.admin_key) as memos:
            with pytest.raises(InvalidInputError, match="no model"):
                await memos.ingest(TURNS, source="chat", extract=True)
            with pytest.raises(InvalidInputError, match="no model"):
                await memos.extraction.automate()
            assert (await memos.list()).memories == []
