"""Postings: which memories hold a term, through additions, removals and sweeps."""

from __future__ import annotations

from memos_ray.core.retrieval.postings import Postings


def held(postings: Postings, *terms: str) -> list[tuple[str, int, int]]:
    found = postings.find(terms)
    return [
        (terms[term], slot, count)
        for term, slot, count in zip(
            found.terms.tolist(), found.slots.tolist(), found.counts.tolist(), strict=True
        )
    ]


def test_entries_are_grouped_by_term() -> None:
    postings = Postings()
    postings.add(5, {"lid": 1, "kettle": 2})
    postings.add(0, {"kettle": 1})
    assert held(postings, "kettle", "none", "lid") == [
        ("kettle", 5, 2),
        ("kettle", 0, 1),
        ("lid", 5, 1),
    ]
    assert held(postings) == held(postings, "none") == []
    assert len(postings) == 2


def test_dropped_texts_are_gone_at_once_and_their_terms_after_a_sweep() -> None:
    postings = Postings()
    postings.add(0, {"kettle": 1})
    postings.add(1, {"kettle": 1, "lid": 1})
    postings.drop(1)
    postings.drop(7)
    assert held(postings, "kettle", "lid") == [("kettle", 0, 1)]
    assert postings.frequencies() == {"kettle": 1}
    assert list(postings.vocabulary.near("lidd")) == []


def test_a_slot_is_used_again() -> None:
    postings = Postings()
    postings.add(0, {"kettle": 1})
    postings.drop(0)
    postings.add(0, {"lid": 3})
    assert held(postings, "kettle", "lid") == [("lid", 0, 3)]


def test_many_changes_leave_little() -> None:
    postings = Postings()
    for round in range(50):
        for slot in range(100):
            postings.add(slot, {f"term{slot}": 1, f"round{round}": 1})
        assert len(held(postings, f"round{round}")) == 100
        for slot in range(100):
            postings.drop(slot)
    postings.add(3, {"last": 70_000})
    assert held(postings, "last", "term3") == [("last", 3, 65_535)]
    assert postings.frequencies() == {"last": 1}
    assert postings.memory_bytes() < 10_000
