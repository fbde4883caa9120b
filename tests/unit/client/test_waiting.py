"""Who waits for a lesson goes on waiting while its shard is away."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("transformers")

from memos_ray import AsyncMemOS, UnavailableError
from memos_ray.client import waiting
from memos_ray.client.local import LocalTransport
from memos_ray.client.opening import Opened
from memos_ray.client.verbs import adapters
from memos_ray.core.parameter import TeachingState
from memos_ray.gateway.parameter.models import LessonReport
from memos_ray.serving.replica import ModelReplica
from memos_ray.serving.tokenizer import ModelTokenizer
from memos_ray.testing.engines import HashingEngine
from memos_ray.testing.in_process import in_process
from memos_ray.testing.models import ReplicaModel
from memos_ray.testing.random_models import write_tokenizer
from memos_ray.testing.trainers import RandomTrainer


@pytest.mark.parametrize("patience_s", [60.0, 0.0])
async def test_a_wait_outlives_a_shard_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    monkeypatch.setattr(waiting, "_PATIENCE_S", patience_s)
    # It looks at once, hence before the supervisor has another shard started.
    monkeypatch.setattr(adapters, "_LOOK_S", 0.0)
    tokenizer = ModelTokenizer(write_tokenizer(tmp_path / "tokenizer"))
    model = ReplicaModel(ModelReplica(HashingEngine(), tokenizer, context_tokens=2048))
    trainer = RandomTrainer()
    async with in_process(
        tmp_path, models={"hashing": model}, kv_builder=model, trainer=trainer, timeout_s=0.01
    ) as made:
        memos = AsyncMemOS()
        memos.attach(
            Opened(LocalTransport(made.doorway), made.administrator.credential), owns=False
        )
        stored = await memos.add("Ana lives in Lima.")
        lesson = await memos.adapters.teach([stored.id or ""])

        def cut_off_once(_: LessonReport) -> None:
            if not made.crew.dead:
                made.crew.cut_off("shard-0")
                trainer.go_on.set()

        if patience_s:
            found = await memos.adapters.wait(lesson.id, progress=cut_off_once)
            assert found.state is TeachingState.LIVE
        else:
            with pytest.raises(UnavailableError):
                await memos.adapters.wait(lesson.id, progress=cut_off_once)
