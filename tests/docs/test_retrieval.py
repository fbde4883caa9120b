"""The page on retrieval shows the signals as they are."""

from __future__ import annotations

import re
from dataclasses import asdict

from memos_ray.core.retrieval import SignalWeights, relevance
from scripts.write_docs import DOCS

TEXT = (DOCS / "retrieval.md").read_text()


def test_every_signal_is_listed_with_its_weight() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (-?[\d.]+) \| (?:evidence|prior) \|", TEXT, re.MULTILINE)
    assert {name: float(weight) for name, weight in rows} == asdict(SignalWeights())


def test_relevance_is_computed_as_stated() -> None:
    assert f"{relevance.SLOPE} * score - {-relevance.BASE} - ln(memories)" in TEXT
