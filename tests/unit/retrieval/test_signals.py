"""What each signal says, seen through the explanations of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import log

import numpy as np
import pytest

from memos_ray.core.cube.facets import to_micros
from memos_ray.core.cube.metadata import TimeSpan
from memos_ray.core.cube.predicate import Everything, OneOf
from memos_ray.core.retrieval import (
    IndexedMemory,
    QueryHints,
    ResidentIndex,
    RetrievalQuery,
    RetrievalSettings,
    SignalPart,
    SignalWeights,
)
from memos_ray.testing.embedders import HashingEmbedder
from memos_ray.testing.talk import asked, indexed, said, turns

EMBEDDER = HashingEmbedder(512)
ALL = RetrievalSettings(weights=SignalWeights(bm25_own=0.5))
DAY = datetime(2024, 5, 3, tzinfo=UTC)


def parts(index: ResidentIndex, query: RetrievalQuery) -> dict[str, dict[str, SignalPart]]:
    """What the signals say, by memory and signal."""
    found = index.search(query)
    return {one.id: {part.signal: part for part in one.parts} for one in found}


def raw(index: ResidentIndex, query: RetrievalQuery, signal: str) -> dict[str, float]:
    told = parts(index, query)
    return {id: by[signal].raw for id, by in told.items() if signal in by}


def cosine(one: str, other: str) -> float:
    first, second = EMBEDDER.embed([one, other])
    return float(first @ second)


def test_bm25_is_okapi() -> None:
    texts = {"a": "kettle kettle lid", "b": "kettle", "c": "garden fence paint door", "d": "lid"}
    index = indexed([said(id, text) for id, text in texts.items()], settings=ALL)
    found = raw(index, asked("kettle lid"), "bm25_own")
    mean = (3 + 1 + 4 + 1) / 4
    rarity = log(1 + (4 - 2 + 0.5) / (2 + 0.5))

    def points(count: int, length: int) -> float:
        return rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean))

    assert found["a"] == pytest.approx(points(2, 3) + points(1, 3))
    assert found["b"] == pytest.approx(points(1, 1))
    assert found["d"] == pytest.approx(points(1, 1))
    assert found["c"] == 0


def test_words_of_neighbours_count_in_context_only() -> None:
    index = indexed(
        turns(("Tom", "Where is the kettle?"), ("Maria", "In the shed."), ("Tom", "Thanks.")),
        settings=ALL,
    )
    told = parts(index, asked("kettle"))
    assert told["t1"]["bm25_context"].raw > 0
    assert told["t1"]["bm25_own"].raw == 0
    assert told["t1"]["bm25_context"].note.startswith("kettle")


def test_neighbours_of_another_audience_lend_nothing() -> None:
    index = indexed(
        [
            said("a", "Where is the kettle?", position=0, owner="user:ann"),
            said("b", "In the shed.", position=1, owner="user:tom"),
        ],
        EMBEDDER,
    )
    told = parts(index, asked("kettle", EMBEDDER))
    assert told["b"]["bm25_context"].raw == 0
    assert told["b"]["dense_context"].raw == pytest.approx(told["b"]["dense_own"].raw)


def test_a_memory_is_as_near_as_its_best_chunk() -> None:
    sentences = [f"Sentence {number} tells of {number} trees and a wall." for number in range(40)]
    long = " ".join([*sentences[:20], "The kettle is in the shed.", *sentences[20:]])
    index = indexed([said("long", long), said("short", "A wall.")], EMBEDDER)
    told = parts(index, asked("kettle shed", EMBEDDER))
    assert told["long"]["dense_own"].raw > cosine("kettle shed", long) + 0.1
    assert "chunks" in told["long"]["dense_own"].note


def test_a_memory_is_read_together_with_its_predecessor() -> None:
    texts = ["Where is the kettle?", "In the shed.", "Thank you."]
    index = indexed(turns(*(("Tom", text) for text in texts)), EMBEDDER)
    found = raw(index, asked("kettle shed", EMBEDDER), "dense_context")
    assert found["t0"] == pytest.approx(cosine("kettle shed", texts[0]), abs=0.01)
    assert found["t1"] == pytest.approx(cosine("kettle shed", "\n".join(texts[:2])), abs=0.01)


def test_a_memory_is_measured_alike_among_few_and_among_all() -> None:
    """A filter that leaves little takes another way through the vectors."""
    index = indexed(turns(*(("Tom", f"Line {i} of the kettle song.") for i in range(30))), EMBEDDER)
    every = raw(index, replace(asked("kettle", EMBEDDER), k=30), "dense_context")
    some = OneOf("id", ("t3", "t4", "t20"))
    query = replace(asked("kettle", EMBEDDER), predicate=some, visible=Everything())
    few = raw(index, query, "dense_context")
    assert few == {id: pytest.approx(every[id], abs=1e-9) for id in ("t3", "t4", "t20")}


def test_what_is_not_embedded_yet_is_average_by_meaning() -> None:
    index = indexed([said("a", "The kettle."), said("b", "A garden.")], EMBEDDER)
    index.upsert([said("c", "The kettle, again.")])
    told = parts(index, asked("kettle", EMBEDDER))
    assert "dense_own" not in told["c"]
    assert told["c"]["bm25_context"].raw > 0
    assert index.unembedded == 1


def test_one_named_participant_is_preferred_and_two_are_not() -> None:
    index = indexed(turns(("Tom", "The kettle broke."), ("Maria", "The kettle broke.")))
    told = parts(index, asked("What did Tom say about the kettle?"))
    assert told["t0"]["speaker"].contribution == SignalWeights().speaker
    assert "speaker" not in told["t1"]
    both = parts(index, asked("Did Tom or Maria break the kettle?"))
    assert all("speaker" not in by for by in both.values())


@pytest.fixture
def chat() -> ResidentIndex:
    return indexed(
        [
            said("mine", "My kettle broke.", position=0, role="user"),
            said("yours", "A kettle costs thirty pounds.", position=1, role="assistant"),
        ]
    )


@pytest.mark.parametrize(
    ("text", "hints", "lifted"),
    [
        ("Which kettle broke?", QueryHints(), {"mine"}),
        ("What did you say about the kettle?", QueryHints(), set()),
        ("你说水壶怎么了", QueryHints(), set()),
        ("Which kettle broke?", QueryHints(roles=("assistant",)), {"yours"}),
        ("Which kettle broke?", QueryHints(roles=()), set()),
    ],
)
def test_the_users_own_words_are_preferred(
    chat: ResidentIndex, text: str, hints: QueryHints, lifted: set[str]
) -> None:
    told = parts(chat, asked(text, hints=hints))
    assert {id for id, by in told.items() if "role" in by} == lifted


@pytest.mark.parametrize(
    ("memory", "inside"),
    [
        (said("m", "Soup.", event_time=to_micros(DAY)), True),
        (said("m", "Soup.", event_time=to_micros(DAY + timedelta(days=1))), False),
        (said("m", "Soup.", mentions=(TimeSpan(DAY, DAY + timedelta(hours=1)),)), True),
        (said("m", "Soup.", created_at=to_micros(DAY)), True),
        (
            said(
                "m",
                "Soup.",
                created_at=to_micros(DAY),
                event_time=to_micros(DAY - timedelta(days=9)),
            ),
            False,
        ),
        (said("m", "Soup."), False),
    ],
)
def test_a_named_time_is_preferred(memory: IndexedMemory, inside: bool) -> None:
    index = indexed([memory, said("other", "Bread.")])
    hints = QueryHints(time_range=TimeSpan(DAY, DAY + timedelta(days=1)))
    told = parts(index, asked("soup", hints=hints))
    assert ("date" in told["m"]) is inside
    assert all("date" not in by for by in parts(index, asked("soup")).values())


@pytest.mark.parametrize(
    ("start", "end", "moment", "inside"),
    [
        ("2025-06-01", "2025-07-01", "2023-06-30T23:59", True),
        ("2025-06-01", "2025-07-01", "2023-07-01T00:00", False),
        ("2025-08-15", "2025-08-16", "2024-08-15T12:00", True),
        ("2025-08-15", "2025-08-16", "2024-08-16T00:00", False),
        ("2024-12-01", "2025-01-01", "2022-12-31T23:00", True),
        ("2024-12-01", "2025-03-01", "2020-02-29T08:00", True),
        ("2024-12-01", "2025-03-01", "2020-03-01T00:00", False),
        ("2023-06-01", "2025-07-01", "2022-06-15T00:00", False),
    ],
)
def test_a_time_without_a_year_is_one_of_any_year(
    start: str, end: str, moment: str, inside: bool
) -> None:
    said_at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    span = TimeSpan(
        datetime.fromisoformat(start).replace(tzinfo=UTC),
        datetime.fromisoformat(end).replace(tzinfo=UTC),
    )
    index = indexed(
        [
            said("said", "Soup.", event_time=to_micros(said_at)),
            said("told", "Stew.", mentions=(TimeSpan(said_at, said_at + timedelta(hours=1)),)),
            said("undated", "Bread."),
        ]
    )
    told = parts(index, asked("soup", hints=QueryHints(time_range=span, yearly=True)))
    assert {id for id, by in told.items() if "date" in by} == (
        {"said", "told"} if inside else set()
    )
    exact = parts(index, asked("soup", hints=QueryHints(time_range=span)))
    assert all("date" not in by for by in exact.values())


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("We met yesterday morning.", 1.0),
        ("We met in May.", 0.0),
        ("We met last week.", 0.5),
        ("我们昨天早上见的", 1.0),
        ("We met.", 0.0),
    ],
)
def test_times_are_preferred_when_a_time_is_asked_for(text: str, share: float) -> None:
    index = indexed([said("m", text), said("other", "Bread.")])
    told = parts(index, asked("When did we meet?"))["m"]
    assert (told["when"].raw if "when" in told else 0.0) == share
    assert all("when" not in by for by in parts(index, asked("Where did we meet?")).values())


def test_questions_stand_back() -> None:
    index = indexed([said("asks", "Where is the kettle?"), said("tells", "The kettle is here.")])
    told = parts(index, asked("kettle"))
    assert told["asks"]["question"].contribution == SignalWeights().question
    assert "question" not in told["tells"]
    long = "This is a long story about a kettle. " * 10 + "Right?"
    softened = parts(indexed([said("m", long)]), asked("kettle"))["m"]["question"]
    assert SignalWeights().question < softened.contribution < 0


def test_what_the_embedder_cannot_read_is_judged_by_words() -> None:
    index = indexed([said("a", "The kettle."), said("b", "A garden.")], EMBEDDER)
    told = parts(index, asked("kettle", EMBEDDER, legible=0.25))["a"]
    defaults = SignalWeights()
    assert told["dense_own"].weight == defaults.dense_own * 0.25
    assert told["dense_context"].weight == defaults.dense_context * 0.25
    assert told["bm25_own"].weight == defaults.dense_own * 0.75
    assert "bm25_own" not in parts(index, asked("kettle", EMBEDDER))["a"]
    # Without an embedding nothing can be read.
    assert parts(index, asked("kettle"))["a"]["bm25_own"].weight == defaults.dense_own


def test_a_weight_of_zero_silences_a_signal() -> None:
    settings = RetrievalSettings(weights=SignalWeights(question=0.0, dense_context=0.0))
    index = indexed([said("a", "A kettle?"), said("b", "A garden.")], EMBEDDER, settings)
    told = parts(index, asked("kettle", EMBEDDER))["a"]
    assert {"question", "dense_context"}.isdisjoint(told)


def test_quantised_cosines_are_close() -> None:
    texts: Sequence[str] = [f"Word {i} and word {i + 1}, kettle {i % 3}." for i in range(50)]
    index = indexed([said(f"m{i}", text) for i, text in enumerate(texts)], EMBEDDER)
    found = raw(index, replace(asked("kettle 1 word", EMBEDDER), k=50), "dense_own")
    exact = np.array([cosine("kettle 1 word", text) for text in texts])
    measured = np.array([found[f"m{i}"] for i in range(50)])
    assert np.abs(exact - measured).max() < 0.01


CAMPS = (
    said("camp", "We went camping by the lake with the telescope."),
    said("stars", "The telescope showed us the rings of Saturn."),
    said("other", "The rings were lost on a walk."),
    *(said(f"f{i}", f"Nothing but weather {i}.") for i in range(20)),
)


def test_OPER_1_and_2_the_best_lead_to_what_shares_their_uncommon_words() -> None:
    index = indexed(CAMPS)
    told = parts(index, replace(asked("Where did we go camping?"), k=100))
    led = told["stars"]["graph"]
    assert led.note == "telescop, ring"
    assert led.raw > 0
    assert "graph" not in told["f3"]
    assert led.contribution == pytest.approx(1.5 * led.raw)
    order = [one.id for one in index.search(asked("Where did we go camping?"))]
    assert order[:2] == ["camp", "stars"]


def test_OPER_2_nothing_hidden_leads_anywhere() -> None:
    """A hidden memory neither passes a walk on, nor makes a word more or less common."""
    hidden = [
        said("secret", "A telescope for camping.", owner="user:bob"),
        *(said(f"s{i}", "The telescope of Bob.", owner="user:bob") for i in range(30)),
    ]
    query = replace(asked("Where did we go camping?"), visible=OneOf("owner", ("user:ann",)))
    assert parts(indexed([*CAMPS, *hidden]), query) == parts(indexed(CAMPS), query)


def test_OPER_2_a_walk_does_not_depend_on_what_has_been_there() -> None:
    index = indexed(CAMPS)
    index.upsert([said(f"g{i}", "A telescope, a lake, Saturn.") for i in range(30)])
    index.remove([f"g{i}" for i in range(30)])
    query = asked("Where did we go camping?")
    assert parts(index, query) == parts(indexed(CAMPS), query)


@pytest.mark.parametrize(
    ("query", "text", "told"),
    [
        ("Where did she grow up?", "I grew up near Bergen, you know.", 1.0),
        ("Which book did she read?", "I read the whole of Emma twice.", 1.0),
        ("他最近看了什么书?", "昨天我看完了《平凡的世界》。", 1.0),
        ("Where did she grow up?", "Oh, thanks, Tom!", 0.0),
        ("Where did she grow up?", "On the coast, last May.", 0.0),
        ("What did she do?", "I grew up near Bergen.", None),
    ],
)
def test_names_are_preferred_when_a_name_is_asked_for(
    query: str, text: str, told: float | None
) -> None:
    index = indexed([said("a", text, speaker="Maria"), said("b", "So it is.", speaker="Tom")])
    assert raw(index, asked(query), "name").get("a", 0.0 if told is not None else None) == told
