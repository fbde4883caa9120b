"""What a query says besides its words, and its embeddings."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from memos_ray.gateway.memories.models import SearchQuery
from memos_ray.gateway.memories.understanding import Understood, embed, understand
from memos_ray.testing.embedders import HashingEmbedder

NOW = datetime(2024, 8, 20, 12, tzinfo=UTC)
EMBEDDER = HashingEmbedder(64)


def understood(text: str, **fields: object) -> Understood:
    return understand(SearchQuery.model_validate({"query": text, **fields}), NOW)


@pytest.mark.parametrize(
    ("text", "nameless"),
    [
        ("Where did Maria put the kettle?", {"Maria": "Where did put the kettle?"}),
        (
            "Did Tom meet Maria in Rome?",
            {
                "Tom": "Did meet Maria in Rome?",
                "Maria": "Did Tom meet in Rome?",
                "Rome": "Did Tom meet Maria in ?",
            },
        ),
        ('What is "The Salt Ledger" about?', {}),
        ("where is the kettle?", {}),
        ("", {}),
    ],
)
def test_names_are_proposed(text: str, nameless: dict[str, str]) -> None:
    assert understood(text).nameless == nameless
    assert understood(text, parse=False).nameless == {}


def test_a_query_full_of_names_is_embedded_a_few_times_only() -> None:
    crowd = " and ".join(["Tom", "Maria", "Rosa", "Ulla", "Jack", "Nina", "Olaf"])
    assert len(understood(f"Did {crowd} come?").nameless) == 4


def test_a_month_without_a_year_is_one_of_any_year() -> None:
    guessed, stated = understood("What broke in June?"), understood("What broke in June 2023?")
    assert guessed.hints.yearly and not stated.hints.yearly
    assert not understood("What broke?").hints.yearly
    assert stated.hints.time_range is not None
    assert stated.hints.time_range.start == datetime(2023, 6, 1, tzinfo=UTC)


def test_every_text_is_embedded_once() -> None:
    query = understood("Where did Maria put the kettle?")
    embedded = embed(query, EMBEDDER)
    assert embedded.space == EMBEDDER.space.digest
    assert embedded.vector is not None
    assert np.array_equal(embedded.vector, EMBEDDER.embed([query.text])[0])
    (other,) = embedded.nameless
    assert other.name == "Maria"
    assert np.array_equal(other.vector, EMBEDDER.embed(["Where did put the kettle?"])[0])
    assert embedded.legible == 1.0


def test_READ_1_words_name_no_more_namespaces_than_a_query_may_state() -> None:
    words = " ".join(f"namespace:n{number}" for number in range(100))
    found = understand(SearchQuery(query=f"trains in {words}"), NOW)
    assert len(found.namespaces) == 64
