"""Pages of a search in several places: each hit is on one of them, whatever the scores are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.retrieval.query import Scored, SignalPart
from memos_ray.core.retrieval.requests import Hit, SearchReply
from memos_ray.gateway.fusion import Shown, merge, page
from memos_ray.testing.cubes import make_cube

_RAW = st.tuples(st.floats(-1, 1), st.floats(0, 30))


def _hit(id: str, raw: tuple[float, float]) -> Hit:
    parts = tuple(
        SignalPart(name, value, value / 2, 0.5, value / 4)
        for name, value in zip(("dense_own", "bm25_context"), raw, strict=True)
    )
    return Hit(make_cube(id=id), Scored(id, sum(one.contribution for one in parts), parts, 0.5))


def _reply(hits: list[Hit]) -> SearchReply:
    return SearchReply(tuple(hits), lsn=1, unembedded=0, resident=True, hops=1)


@given(st.lists(st.lists(_RAW, max_size=12), min_size=1, max_size=4), st.integers(1, 5))
def test_OPER_2_each_hit_is_on_exactly_one_page(
    raws: list[list[tuple[float, float]]], limit: int
) -> None:
    places = [
        sorted(
            (_hit(f"p{place}-{at}", raw) for at, raw in enumerate(found)),
            key=lambda hit: -hit.scored.score,
        )
        for place, found in enumerate(raws)
    ]
    shown: Shown | None = Shown.nothing(len(places))
    pages: list[list[Hit]] = []
    while shown is not None:
        asked = [shown.wanted(place, limit) for place in range(len(places))]
        replies = [
            _reply(hits[offset : offset + k])
            for hits, (offset, k) in zip(places, asked, strict=True)
        ]
        if not pages and len(places) > 1:
            best = [hit.cube.id for hit in merge(replies)[:limit]]
        hits, shown = page(replies, shown, limit)
        pages.append(hits)
    if len(places) > 1:
        assert [hit.cube.id for hit in pages[0]] == best
    assert all(len(one) == limit for one in pages[:-1])
    ids = [hit.cube.id for one in pages for hit in one]
    assert sorted(ids) == sorted(hit.cube.id for hits in places for hit in hits)
