"""EVO-1: with a model, accepted summaries get its words behind the answer; it is real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memos_ray.actors.vault import upkeep
from memos_ray.core.cube.cube import State
from memos_ray.core.evolution import EvolvedState, Verdict
from memos_ray.core.extraction import Spent
from memos_ray.gateway.memories.models import Memory, MemoryChange
from memos_ray.gateway.memories.record_models import LogFilter
from memos_ray.testing.openai_endpoint import Endpoint, Reply, answer, openai_endpoint
from memos_ray.testing.reading import turns_in
from memos_ray.testing.waiting import eventually
from tests.unit.service.test_evolution import episodes, got
from tests.unit.service.test_extraction import QUICK, Bench, opened

WORDS = "Ben walked to the lake on day 0 and on day 5."


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Endpoint]]:
    with openai_endpoint() as found:
        yield found


@pytest.fixture
async def bench(tmp_path: Path, server: tuple[str, Endpoint]) -> AsyncIterator[Bench]:
    server[1].reset()
    server[1].script = [summing_up(WORDS)]
    async with opened(tmp_path, server) as made:
        yield made


def summing_up(*texts: str, sources: list[str] | None = None) -> Callable[[dict[str, Any]], Reply]:
    """Answers with sentences, of the first and the last memory unless it is said of which."""

    def reply(body: dict[str, Any]) -> Reply:
        named = [turn["id"] for turn in turns_in(body)]
        of = sources or [named[0], named[-1]]
        return answer(json.dumps({"sentences": [{"text": one, "sources": of} for one in texts]}))

    return reply


async def accepted(bench: Bench) -> tuple[str, str, str]:
    """Returns the proposal, the memory that it made, and the summary in the memories' words."""
    one = await episodes(bench.memos)
    service = bench.memos.doorway.evolution
    done = await service.settle(bench.admin, one.id, Verdict.ACCEPT)
    return one.id, done.made[0].id, one.texts[0]


async def until(bench: Bench, id: str, wanted: Callable[[Memory], bool]) -> Memory:
    async with asyncio.timeout(60):
        while not wanted(found := await got(bench.memos, id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def settled(bench: Bench, number: int = 1) -> None:
    """Returns when nothing is to be put into words any more."""
    async with asyncio.timeout(60):
        while len(bench.endpoint.asked) < number or any(  # noqa: ASYNC110
            bench.memos.store.derivations(partition, "evolution_wording") for partition in range(2)
        ):
            await asyncio.sleep(0.01)


async def counts(bench: Bench) -> dict[str, int]:
    found: dict[str, int] = {}
    for shard in bench.memos.crew.shards.values():
        for name, count in (await shard.status()).counters.items():
            found[name] = found.get(name, 0) + count
    return found


async def test_EVO_1_a_summary_gets_the_words_of_a_model_and_is_undone(bench: Bench) -> None:
    proposal, made, extract = await accepted(bench)
    found = await until(bench, made, lambda one: one.version == 2)
    assert (found.text, found.attributes) == (WORDS, {"written_by": "reader"})
    await settled(bench)
    (_, _, body), *more = bench.endpoint.asked
    assert not more and [turn["id"] for turn in turns_in(body)] == [f"m{n}" for n in range(6)]
    first = await bench.memos.service.history(bench.admin, made)
    assert [one.number for one in first.versions] == [2, 1]
    status = await bench.memos.doorway.evolution.status(bench.admin)
    (one,) = status.proposals
    assert one.texts == [WORDS] and one.made[0].version == 2 and extract != WORDS
    wanted = LogFilter(reads=True, memory_id="e0", operation="summarise")
    (entry,) = (await bench.memos.doorway.logs.log(bench.admin, wanted=wanted)).entries
    assert entry.detail["model"] == "reader"
    assert (await counts(bench))["evolution_reworded"] == 1
    undone = await bench.memos.doorway.evolution.settle(bench.admin, proposal, Verdict.UNDO)
    assert undone.state is EvolvedState.UNDONE
    assert (await got(bench.memos, made)).state is State.DELETED
    assert (await got(bench.memos, "e0")).state is State.ACTIVATED


@pytest.mark.parametrize(
    "reply",
    [
        answer("no JSON"),
        answer(json.dumps({"sentences": []})),
        summing_up("Ben married Zoe in Paris."),
        summing_up("Ben never walked to the lake on day 0."),
        summing_up(WORDS, sources=["m99"]),
        summing_up(WORDS, "Ben drove 900 km.", "Ben flew to Rome."),
    ],
)
async def test_EVO_1_what_the_memories_do_not_say_is_not_taken(bench: Bench, reply: Any) -> None:
    bench.endpoint.script = [reply]
    _, made, extract = await accepted(bench)
    await settled(bench)
    found = await got(bench.memos, made)
    assert (found.text, found.version, found.attributes) == (extract, 1, {})
    assert (await counts(bench))["evolution_wording_refused"] == 1


async def test_EVO_1_what_its_owner_has_edited_stays(bench: Bench) -> None:
    asked = asyncio.Event()
    loop, edited = asyncio.get_running_loop(), asyncio.Event()

    def late(body: dict[str, Any]) -> Reply:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(edited.wait(), loop).result(30)
        return summing_up(WORDS)(body)

    bench.endpoint.script = [late]
    _, made, _ = await accepted(bench)
    await asked.wait()
    await bench.memos.service.update(bench.admin, made, MemoryChange(text="My own words."))
    edited.set()
    await settled(bench)
    assert (await got(bench.memos, made)).text == "My own words."


async def test_EVO_1_a_model_that_is_away_is_asked_at_the_next_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.endpoint.script = [Reply(status=503, body={}), Reply(status=503, body={})]
    _, made, extract = await accepted(bench)
    async with asyncio.timeout(60):
        while not (await counts(bench)).get("evolution_wording_failed"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await got(bench.memos, made)).text == extract
    # Another shard goes on with it.
    bench.endpoint.script = [summing_up(WORDS)]
    monkeypatch.setattr(upkeep, "_SWEEP_S", 0.0)
    for name in list(bench.memos.crew.shards):
        bench.memos.crew.cut_off(name)
        await bench.memos.crew.start_shard(name)
    await bench.memos.supervisor.boot()
    assert (await until(bench, made, lambda one: one.version == 2)).text == WORDS


async def test_EVO_1_a_spent_budget_leaves_the_words_of_the_memories(
    tmp_path: Path, server: tuple[str, Endpoint]
) -> None:
    server[1].reset()
    server[1].script = [summing_up(WORDS)]
    settings = QUICK.model_copy(update={"requests_per_hour": 1})
    async with opened(tmp_path, server, settings) as bench:
        _, made, _ = await accepted(bench)
        await until(bench, made, lambda one: one.version == 2)
        await settled(bench)
        assert len(bench.endpoint.asked) == 1
        # The hour's request is spent: extraction waits for it as well.
        await bench.add("I moved to Lisbon last month.")
        status = await bench.settled()
        assert [job.reason for job in status.jobs] == ["budget"]


async def test_EVO_1_READ_3_what_a_summary_has_not_cost_is_given_back(
    tmp_path: Path, server: tuple[str, Endpoint]
) -> None:
    server[1].reset()
    server[1].script = [summing_up(WORDS)]
    settings = QUICK.model_copy(update={"tokens_per_hour": 100_000})
    async with opened(tmp_path, server, settings) as bench:
        _, made, _ = await accepted(bench)
        await until(bench, made, lambda one: one.version == 2)

        def spent() -> int:
            (account,) = bench.memos.control.load("/extraction")
            return Spent.from_bytes(account.body).tokens

        # As the endpoint counts; an eighth of the budget was allowed.
        await eventually(lambda: spent() == 11 + 5)
