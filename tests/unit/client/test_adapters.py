"""Adapters through the SDK: the same in this process and over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

from memos_ray import AsyncMemOS, IllegalStateError, InvalidInputError, NotFoundError
from memos_ray.core.parameter import TeachingState
from memos_ray.gateway.parameter.models import LessonReport
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer

MODEL = "hashing"


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Any]:
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path / "tokenizer"))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    trainer = RandomTrainer()
    trainer.go_on.set()
    return {"models": {MODEL: model}, "kv_builder": model, "trainer": trainer}


async def taught(memos: AsyncMemOS, text: str) -> LessonReport:
    stored = await memos.add(text)
    lesson = await memos.adapters.teach([stored.id or ""])
    return await memos.adapters.wait(lesson.id)


async def test_adapters_are_merged(memos: AsyncMemOS) -> None:
    parents = [await taught(memos, text) for text in ("Ana lives in Lima.", "Ben is a cook.")]
    assert {one.state for one in parents} == {TeachingState.LIVE}
    ids = [one.id for one in parents]
    lesson = await memos.adapters.merge(ids, method="dare", weights=[1, 0.5], density=0.7)
    found = await memos.adapters.wait(lesson.id)
    assert found.state is TeachingState.LIVE
    assert found.memories == [*parents[0].memories, *parents[1].memories]
    with pytest.raises(InvalidInputError):
        await memos.adapters.merge(ids, method="median")
    with pytest.raises(InvalidInputError):
        await memos.adapters.merge(ids[:1])
    with pytest.raises(NotFoundError):
        await memos.adapters.merge([ids[0], "absent"])


async def test_a_folder_goes_out_and_comes_in(memos: AsyncMemOS, tmp_path: Path) -> None:
    lesson = await taught(memos, "Ana lives in Lima.")
    folder = tmp_path / "out" / "adapter"
    await memos.adapters.export_folder(lesson.id, folder)
    assert {one.name for one in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    with pytest.raises(InvalidInputError, match="empty"):
        await memos.adapters.export_folder(lesson.id, folder)
    sources = [one.id for one in lesson.memories]
    again = await memos.adapters.import_folder(folder, sources)
    found = await memos.adapters.wait(again.id)
    assert (found.state, found.adapter) == (TeachingState.LIVE, lesson.adapter)
    await memos.delete(sources[0])
    with pytest.raises((NotFoundError, IllegalStateError)):
        await memos.adapters.export_folder(again.id, tmp_path / "gone")
    with pytest.raises(InvalidInputError):
        await memos.adapters.import_folder(folder, sources)


async def test_pickles_are_refused(memos: AsyncMemOS, tmp_path: Path) -> None:
    stored = await memos.add("Ana lives in Lima.")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 8}')
    pickled = tmp_path / "adapter_model.bin"
    pickled.write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidInputError, match="pickles"):
        await memos.adapters.import_folder(tmp_path, [stored.id or ""])
    pickled.rename(tmp_path / "adapter_model.safetensors")
    with pytest.raises(InvalidInputError, match="safetensors"):
        await memos.adapters.import_folder(tmp_path, [stored.id or ""])
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(NotFoundError):
        await memos.adapters.import_folder(tmp_path, [stored.id or ""])
