"""KV caches under personas and trusted sources: closed to other roles, and never outdated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray.core.cube.payload import Form
from memos_ray.core.personas import PersonaTemplate
from memos_ray.errors import NotFoundError
from memos_ray.gateway.activation.models import Conversion
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.chat.models import ChatAnswer, ChatQuery, Turn
from memos_ray.gateway.memories.models import NewMemory
from memos_ray.gateway.sources.models import Deciding, NewSource
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import InProcess, in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer

MODEL = "hashing"


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path / "tokenizer"))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    async with in_process(tmp_path / "data", models={MODEL: model}, kv_builder=model) as memos:
        yield memos


async def convert(memos: InProcess, caller: Caller, *texts: str) -> tuple[str, list[str]]:
    report = await memos.service.add(caller, [NewMemory(text=text) for text in texts])
    ids = [result.id or "" for result in report.results]
    wanted = Conversion(ids=ids, model=MODEL)
    made = await memos.doorway.activation.convert(caller, wanted)
    return made.results[0].id or "", ids


async def chat(memos: InProcess, caller: Caller) -> ChatAnswer:
    query = ChatQuery(
        model=MODEL,
        messages=[Turn(role="user", content="Who?")],
        memories=1,
        memory_tokens=1,
        max_tokens=4,
        session="s",
    )
    return await memos.doorway.chats.chat(caller, query)


async def test_APP_4_a_cache_of_one_role_is_for_no_other(memos: InProcess) -> None:
    admin = memos.administrator
    for name in ("doctor", "parent"):
        await memos.doorway.personas.put(admin, name, PersonaTemplate(name=name))
    doctor, parent = replace(admin, role="doctor"), replace(admin, role="parent")
    block, ids = await convert(memos, doctor, *(f"Patient {n} is well." for n in range(12)))
    (cache,) = (await memos.doorway.activation.caches(doctor)).caches
    assert cache.id == block
    used = (await chat(memos, doctor)).memories
    assert {one.id for one in used} == set(ids)
    assert {one.form for one in used} == {Form.ACTIVATION}
    for other in (parent, admin):
        assert (await chat(memos, other)).memories == []
        with pytest.raises(NotFoundError):
            await memos.doorway.activation.cache(other, block, f"{memos.administrator_id}/doctor")


async def test_APP_3_a_cache_leaves_out_what_a_source_has_superseded(memos: InProcess) -> None:
    admin = memos.administrator
    texts = [f"Ward {n} has {n} beds." for n in range(2, 12)]
    rule = "The blood pressure target for adults is below 150 mmHg."
    block, ids = await convert(memos, admin, rule, *texts)
    assert {one.id for one in (await chat(memos, admin)).memories} == set(ids)
    new = NewSource(
        name="Hypertension",
        issuer="The Board",
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        text="The blood pressure target for adults is below 130 mmHg.",
        format="text",
    )
    added = await memos.doorway.sources.add(admin, new)
    report = await memos.doorway.sources.decide(admin, Deciding(source=added.id), accept=True)
    (result,) = report.results
    assert result.finding is not None and result.finding.held == ids[0]
    cache = await memos.doorway.activation.cache(admin, block)
    assert [one.current for one in cache.sources if one.id == ids[0]] == [None]
    assert ids[0] not in {one.id for one in (await chat(memos, admin)).memories}
