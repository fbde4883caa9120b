"""SCHED-2, SCHED-3: the simulator counts right, and the aims are met on small traces."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.scheduler.dialogue import preloading, trace_of
from benchmarks.scheduler.replay import oracle, replay
from benchmarks.scheduler.traces import Item, Step, Trace, zipf
from memos_ray.core.scheduling.policies import CostBased, LeastRecentlyUsed

EXAMPLE = Path(__file__).parents[3] / "examples" / "conversation.json"


def item(name: str, size: int = 10, seconds: float = 1.0) -> Item:
    return Item(name, "shared", 0, size, seconds)


def wanted(names: str, **items: Item) -> Trace:
    return [Step(float(at), items.get(name) or item(name)) for at, name in enumerate(names)]


def test_SCHED_2_the_oracle_keeps_what_is_wanted_next() -> None:
    trace = wanted("abcabab")
    assert oracle(trace, 20).seconds == 3.0, "c is never let in"
    assert replay(trace, 20, LeastRecentlyUsed()).seconds == 5.0


def test_SCHED_2_the_oracle_knows_that_a_change_comes_first() -> None:
    a, b = item("a"), item("b")
    trace = [Step(0, a), Step(1, b), Step(2, a, changed=True), Step(3, a), Step(4, b)]
    assert oracle(trace, 10).seconds == 3.0, "b is kept, for a would have changed"


def test_SCHED_2_the_oracle_weighs_seconds_by_bytes() -> None:
    dear = {"a": item("a", 10, 9.0), "b": item("b", 10, 1.0)}
    assert oracle(wanted("abab", **dear), 10).seconds == 11.0


def test_SCHED_2_regret_on_zipf_is_less_than_that_of_lru() -> None:
    trace = zipf(1)[:3000]
    sizes = {step.item.id: step.item.size_bytes for step in trace}
    budget = sum(sizes.values()) // 10
    best = oracle(trace, budget).seconds
    regret = replay(trace, budget, CostBased()).seconds - best
    assert 0 <= regret < 0.75 * (replay(trace, budget, LeastRecentlyUsed()).seconds - best)


def test_SCHED_2_traces_repeat() -> None:
    assert zipf(3) == zipf(3) != zipf(4)


def test_SCHED_3_the_order_of_questions_is_a_trace() -> None:
    turns = [
        {"dia_id": f"D{session}:{turn}", "speaker": "Tom", "text": "The kettle broke."}
        for session in (1, 2)
        for turn in (1, 2)
    ]
    sample = {
        "sample_id": "one",
        "conversation": {
            "session_1": turns[:2],
            "session_1_date_time": "1:00 pm on 3 May, 2024",
            "session_2": turns[2:],
            "session_2_date_time": "1:00 pm on 4 May, 2024",
        },
        "qa": [
            {"question": "What broke?", "evidence": ["D1:1", "D1:2"], "category": 4},
            {"question": "And then?", "evidence": ["D2:1", "D1:1"], "category": 1},
        ],
    }
    content = json.dumps([sample]).encode()
    assert [step.item.id for step in trace_of(content)] == [
        "one/session_1",
        "one/session_2",
        "one/session_1",
    ]
    found = preloading(content, limit=4)
    assert (found["needed"], found["memories"]) == (4, 4)
    assert found["hit_rate"] == 0.5, "nothing is known before the first question"


def test_SCHED_3_the_shipped_conversation_can_be_replayed() -> None:
    content = EXAMPLE.read_bytes()
    assert trace_of(content)
    found = preloading(content)
    assert found["hit_rate"] > 2 * found["last_used_rate"]
