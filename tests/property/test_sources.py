"""Editions of random documents: every section is accounted for, and nothing contradicts itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.sources import Kind, Section, align, compare, compare_editions

words = st.sampled_from(
    "salt target pressure below above 5 6 140 130 mmHg daily not never adults children twice "
    "recommended contraindicated at least at most 不 禁止 盐 每日 克 5克".split()
)
sentences = st.lists(words, min_size=1, max_size=12).map(" ".join)
texts = st.lists(sentences, min_size=1, max_size=4).map(lambda found: ". ".join(found) + ".")
headings = st.lists(st.sampled_from(["1 Targets", "2 Salt", "Salt", "Rest"]), max_size=3)


def sections(prefix: str) -> st.SearchStrategy[list[Section]]:
    one = st.tuples(headings, texts)
    return st.lists(one, max_size=8).map(
        lambda found: [
            Section(f"{prefix}{n}", tuple(trail), text) for n, (trail, text) in enumerate(found)
        ]
    )


@given(older=sections("o"), newer=sections("n"))
def test_APP_3_an_alignment_accounts_for_each_section_once(
    older: list[Section], newer: list[Section]
) -> None:
    found = align(older, newer)
    assert list(found) == [one.id for one in older]
    used = [one for one in found.values() if one is not None]
    assert len(set(used)) == len(used)
    assert set(used) <= {one.id for one in newer}


@given(edition=sections("s"))
def test_APP_3_an_edition_is_aligned_with_itself(edition: list[Section]) -> None:
    texts_of = {one.id: one.text for one in edition}
    for old, new in align(edition, edition).items():
        if new is not None and texts_of[old] == texts_of[new]:
            assert compare_editions(texts_of[old], texts_of[new]).kind is Kind.UNCHANGED


@given(sentence=sentences)
def test_APP_3_nothing_contradicts_itself(sentence: str) -> None:
    assert compare(sentence, sentence) is None


@given(held=texts, said=texts)
def test_APP_3_what_contradicts_says_why(held: str, said: str) -> None:
    verdict = compare(held, said)
    if verdict is not None:
        assert verdict.kind is Kind.CONTRADICTED
        assert verdict.reasons and 0 < verdict.confidence <= 1
    edition = compare_editions(held, said)
    assert edition.reasons and 0 < edition.confidence <= 1
