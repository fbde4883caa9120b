"""CONV-2: what a busy trainer says of its progress is heard, however late it says it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError

from memos_ray.cluster import trainers
from memos_ray.ports import TrainingProgress


class Trainer:
    """Answers as a trainer does whose process has other things to do: when it comes to it."""

    def __init__(self) -> None:
        self.progress = self
        self.asked: asyncio.Queue[asyncio.Future[TrainingProgress]] = asyncio.Queue()
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def remote(self) -> asyncio.Future[TrainingProgress]:
        """Takes the question."""
        answer: asyncio.Future[TrainingProgress] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(answer)
        return answer


async def test_CONV_2_a_busy_trainer_is_heard_and_asked_one_thing_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainers, "_LOOK_S", 0.001)
    trainer, heard = Trainer(), list[TrainingProgress]()
    following = asyncio.create_task(trainers.followed(trainer, trainer.result, heard.append))
    async with asyncio.timeout(60):
        first = await trainer.asked.get()
        # Many looks later there is still the one question.
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert trainer.asked.empty() and not heard
        first.set_result(TrainingProgress(0.5, 1.0))
        second = await trainer.asked.get()
        assert heard == [TrainingProgress(0.5, 1.0)]
        # Started again meanwhile, it answers nothing, and is asked once more.
        second.set_exception(ActorUnavailableError("it is started again", b"x" * 16))
        third = await trainer.asked.get()
        trainer.result.set_result("the report")
        assert await following == "the report"
    assert heard == [TrainingProgress(0.5, 1.0)] and third.cancelled()
