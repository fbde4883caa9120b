"""Questions in a dialogue, from the turns to what is found (READ-2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memos_ray.config import VaultSettings
from memos_ray.core.reader.query.event_dates import Outcome
from memos_ray.errors import InvalidCursorError
from memos_ray.gateway.callers import Caller
from memos_ray.gateway.memories.models import NewMemory, SearchQuery, SearchResult
from memos_ray.gateway.memories.turn_models import EarlierTurn
from memos_ray.gateway.memories.understanding_models import Question, Understanding
from memos_ray.testing.clock import ManualClock
from memos_ray.testing.in_process import InProcess, in_process

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SETTINGS = VaultSettings(partitions=4)


@pytest.fixture
async def memos(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with in_process(tmp_path, settings=SETTINGS, clock=ManualClock(NOW)) as memos:
        yield memos


def turns(*said: str) -> list[EarlierTurn]:
    """Questions and answers take turns, beginning with a question."""
    roles = ("user", "assistant")
    return [
        EarlierTurn.model_validate({"role": roles[place % 2], "content": text})
        for place, text in enumerate(said)
    ]


async def add(memos: InProcess, text: str, **fields: object) -> str:
    report = await memos.service.add(
        memos.administrator, [NewMemory.model_validate({"text": text, **fields})]
    )
    (result,) = report.results
    assert result.error is None
    return result.id or ""


async def search(memos: InProcess, query: str, *said: str, **fields: object) -> SearchResult:
    asked = SearchQuery.model_validate(
        {"query": query, "turns": turns(*said), "explain": True, **fields}
    )
    return await memos.service.search(memos.administrator, asked)


async def understood(
    memos: InProcess, query: str, *said: str, caller: Caller | None = None, **fields: object
) -> Understanding:
    asked = Question.model_validate({"query": query, "turns": turns(*said), **fields})
    return await memos.service.understand(caller or memos.administrator, asked)


async def test_READ_2_a_search_fills_what_the_question_leaves_to_the_dialogue(
    memos: InProcess,
) -> None:
    boat = await add(memos, "Clara keeps a boat in Lisbon.", speaker="Clara")
    for n in range(8):
        await add(memos, f"Peter paints boat number {n} green.", speaker="Peter")
    said = ("Where does Clara live?", "In Lisbon.")
    found = await search(memos, "Has she got a boat there?", *said)
    assert found.hits[0].memory.id == boat
    assert found.understood["question"] == "Has Clara got a boat in Lisbon?"
    assert [one["meant"] for one in found.understood["fillings"]] == ["Clara", "Lisbon"]
    assert all(one["reason"] for one in found.understood["fillings"])

    alone = await search(memos, "Has Clara got a boat?", *said)
    assert "fillings" not in alone.understood
    as_it_stands = await search(memos, "Has she got a boat there?", *said, parse=False)
    assert as_it_stands.understood == {}


async def test_READ_2_a_page_belongs_to_its_dialogue(memos: InProcess) -> None:
    for n in range(4):
        await add(memos, f"Clara sails boat {n}.")
    said = ("Where does Clara live?", "In Lisbon.")
    first = await search(memos, "What does she sail?", *said, limit=2)
    second = await search(memos, "What does she sail?", *said, limit=2, cursor=first.cursor)
    ids = [hit.memory.id for hit in (*first.hits, *second.hits)]
    assert len(set(ids)) == 4
    with pytest.raises(InvalidCursorError):
        await search(memos, "What does she sail?", "Where is Ann?", limit=2, cursor=first.cursor)


async def test_READ_2_a_time_counts_from_the_date_of_an_event(memos: InProcess) -> None:
    birthday = await add(
        memos,
        "Clara's birthday is on 8 May 2026.",
        event_time="2026-03-01T10:00:00Z",
        mentions=[{"start": "2026-05-08T00:00:00Z", "end": "2026-05-09T00:00:00Z"}],
    )
    before = await add(memos, "Clara painted the kitchen.", event_time="2026-05-04T10:00:00Z")
    await add(memos, "Clara painted the kitchen door.", event_time="2026-02-04T10:00:00Z")
    found = await understood(memos, "What did Clara paint the week before her birthday?")
    assert found.event is not None and found.time_range is not None
    assert (found.event.event, found.event.outcome) == ("Clara's birthday", Outcome.FOUND)
    assert found.event.memory_id == birthday
    assert found.time_range.start == datetime(2026, 5, 1, tzinfo=UTC)
    assert found.time_range.end == datetime(2026, 5, 8, tzinfo=UTC)

    hits = await search(memos, "What did Clara paint the week before her birthday?")
    assert hits.understood["event"]["outcome"] == "found"
    dated = [h.memory.id for h in hits.hits if any(s.signal == "date" and s.raw for s in h.signals)]
    assert before in dated

    spoken = await understood(
        memos, "And what did she paint the week before it?", "When is Clara's birthday?", "8 May."
    )
    assert spoken.event is not None and spoken.event.outcome is Outcome.FOUND


async def test_READ_2_an_event_with_two_dates_or_none_sets_no_time(memos: InProcess) -> None:
    unknown = await understood(memos, "What did we eat two days after the wedding?")
    assert unknown.event is not None and unknown.event.outcome is Outcome.UNKNOWN
    assert unknown.time_range is None
    for day in (8, 20):
        await add(
            memos,
            f"The wedding is on {day} May.",
            mentions=[
                {
                    "start": datetime(2026, 5, day, tzinfo=UTC),
                    "end": datetime(2026, 5, day, tzinfo=UTC) + timedelta(days=1),
                }
            ],
        )
    found = await search(memos, "What did we eat two days after the wedding?")
    assert found.understood["event"]["outcome"] == "ambiguous"
    assert found.understood["event"]["others"] == 2
    assert found.understood["time_range"] is None
    assert len(found.hits) == 2
    told = await understood(memos, "What happened the day after the wedding in early May 2026?")
    assert told.event is not None and told.event.outcome is Outcome.FOUND


async def test_READ_2_a_hidden_memory_dates_no_event(memos: InProcess) -> None:
    await add(
        memos,
        "Clara's birthday is on 8 May 2026.",
        visibility="private",
        mentions=[{"start": "2026-05-08T00:00:00Z", "end": "2026-05-09T00:00:00Z"}],
    )
    stranger = await memos.caller("user:stranger")
    asked = "What happened the week before Clara's birthday?"
    found = await understood(memos, asked, caller=stranger)
    assert found.event is not None and found.event.outcome is Outcome.UNKNOWN
    assert found.event.memory_id is None and found.time_range is None
    there = await understood(memos, asked, caller=stranger, namespaces=["user:admin"])
    assert there.event is not None and there.event.outcome is Outcome.UNKNOWN


async def test_READ_2_chinese_times_count_from_events_too(memos: InProcess) -> None:
    await add(
        memos,
        "小明的婚礼是5月8号。",
        mentions=[{"start": "2026-05-08T00:00:00Z", "end": "2026-05-09T00:00:00Z"}],
    )
    found = await understood(memos, "小明的婚礼后两天我们去了哪里?")
    assert found.event is not None and found.event.outcome is Outcome.FOUND
    assert found.time_range is not None
    assert found.time_range.start == datetime(2026, 5, 10, tzinfo=UTC)


async def test_READ_2_steps_are_counted_and_nothing_said_is_logged(
    memos: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    counted: list[tuple[str, str]] = []
    memos.service.watch(lambda step, outcome: counted.append((step, outcome)))
    with caplog.at_level("INFO"):
        await search(memos, "What does she sail?", "Where does Clara live?")
        await search(memos, "What does she sail?", "Is it cold?")
        await search(memos, "What did she sail before the wedding?", "Where does Clara live?")
    assert counted == [
        ("rewriting", "filled"),
        ("rewriting", "open"),
        ("rewriting", "filled"),
        ("event_date", "unknown"),
    ]
    assert "a question was read: rewriting filled" in caplog.text
    assert "Clara" not in caplog.text and "sail" not in caplog.text
