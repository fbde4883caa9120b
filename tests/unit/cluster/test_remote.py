"""A call of an actor ends when it is given up, whenever that is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from memos_ray.cluster.remote import RemoteActor
from memos_ray.errors import DeadlineExceededError

TURNS = 6


def called(answer: asyncio.Future[str], timeout_s: float = 60.0) -> asyncio.Task[str]:
    actor = RemoteActor("one", "memos", timeout_s)
    actor._handle = SimpleNamespace(ask=SimpleNamespace(remote=lambda: answer))
    return asyncio.create_task(actor.call("ask"))


@pytest.mark.parametrize("turns", range(TURNS))
async def test_a_call_that_is_given_up_as_its_answer_comes_ends(turns: int) -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    call = called(answer)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    answer.set_result("yes")
    for _ in range(turns):
        await asyncio.sleep(0)
    given_up = call.cancel()
    await asyncio.wait([call])
    # Whoever gives up what has not ended counts on its not going on.
    assert call.cancelled() is given_up


async def test_a_call_without_an_answer_ends_in_time() -> None:
    with pytest.raises(DeadlineExceededError):
        await called(asyncio.get_running_loop().create_future(), timeout_s=0.01)
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    answer.set_result("yes")
    assert await called(answer) == "yes"
