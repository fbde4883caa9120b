"""SCHED-4: a hot memory is brought to another replica before its holder overflows, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing

import pytest

from memos_ray import MemOS
from memos_ray.config import ModelSettings, Settings
from memos_ray.gateway.metrics import HttpMetrics
from memos_ray.serving import deployment
from memos_ray.serving.handles import ModelHandle
from memos_ray.testing.random_models import write_tokenizer
from tests.serving.test_routing import asking, memories, used

pytestmark = pytest.mark.cluster

# Who has computed the cache, and who was asked first, may be two.
REPLICAS = 3
HOLDER_REQUESTS = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHandle]:
    settings = ModelSettings.model_validate(
        {
            "name": "hot",
            "path": write_tokenizer(tmp_path_factory.mktemp("tokenizer")),
            "engine": "custom",
            "factory": "memos_ray.testing.engines:slow_engine",
            "context_tokens": 2048,
            "replicas_min": REPLICAS,
            "replicas_max": REPLICAS,
            "holder_requests": HOLDER_REQUESTS,
            "copies_max": REPLICAS,
            "cpus": 0,
        }
    )
    memos = Settings(data=tmp_path_factory.mktemp("memos"), vectors={"enabled": False})  # type: ignore[arg-type]
    with MemOS(data=memos.data, settings=memos):
        deployment.start([settings])
        yield ModelHandle("hot")
        deployment.end()


def added() -> float:
    """Returns how many copies this process has had added, as Prometheus is told."""
    wanted = 'memos_kv_copies{change="added",model="hot",replica="7"} '
    lines = HttpMetrics("7").render({}).decode().splitlines()
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


async def test_SCHED_4_a_hot_memory_gets_another_copy_and_the_metric_says_so(
    model: ModelHandle,
) -> None:
    shared = memories("Cy")
    reference = await model.build_kv(shared, salt="acme")
    name = (await reference).manifest.name
    for _ in range(10):
        await used(model.chat(asking(shared, name), [reference]))
    assert added() == 0, "there is time for all of them"
    async with AsyncExitStack() as streams:
        for _ in range(HOLDER_REQUESTS):
            stream = model.chat(asking(shared, name, tokens=1300), [reference])
            await streams.enter_async_context(aclosing(stream))
            # The first word is awaited, so that the queues are known when the next one comes.
            await anext(stream)
        assert added() > 0
        # The next ones find it wherever they go.
        uses = [await used(model.chat(asking(shared, name), [reference])) for _ in range(4)]
        assert all(use.at_holder for use in uses)
