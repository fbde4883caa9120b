"""Tags that a query names."""

from __future__ import annotations

import pytest

from memos_ray.core.cube.predicate import OneOf
from memos_ray.core.retrieval import RetrievalQuery
from memos_ray.core.retrieval.tags import Tags
from memos_ray.core.retrieval.text import Analyzer
from memos_ray.testing.talk import asked, indexed, said


@pytest.fixture
def tags() -> Tags:
    made = Tags(Analyzer())
    made.replace((), ("k8s", "code review", "class hierarchies", "读书", "of the", "Häuser"))
    return made


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("what's my k8s deploy story?", ["k8s"]),
        ("after both code reviews", ["code review"]),
        ("a review of the code", []),
        ("code and review", ["code review"]),
        ("One class hierarchy, one CODE REVIEW", ["class hierarchies", "code review"]),
        ("她喜欢读书吗", ["读书"]),
        ("of the", []),
        ("", []),
    ],
)
def test_named(tags: Tags, query: str, named: list[str]) -> None:
    assert tags.named(query, ["en"]) == named


def test_tags_are_read_in_the_languages_of_the_memories(tags: Tags) -> None:
    assert tags.named("das alte Haus", ["en"]) == []
    assert tags.named("das alte Haus", ["en", "de"]) == ["Häuser"]


def test_uses_are_counted(tags: Tags) -> None:
    assert tags.named("k8s", ["en"]) == ["k8s"]
    tags.replace((), ("k8s",))
    tags.replace(("k8s", "读书"), ("chess",))
    assert tags.named("k8s and chess 读书", ["en"]) == ["chess", "k8s"]
    tags.replace(("k8s",), ())
    assert tags.named("k8s", ["en"]) == []


def test_a_named_tag_lifts_its_bearers_and_makes_them_relevant() -> None:
    memories = [said(f"m{i}", f"Sentence number {i} about nothing.") for i in range(40)]
    memories += [said("cluster", "Deploys go to EKS with Helm.", tags=("k8s",))]
    index = indexed(memories)
    first = index.search(asked("k8s story"))[0]
    assert first.id == "cluster"
    assert [part.note for part in first.parts if part.signal == "tag"] == ["k8s"]
    assert first.relevance is not None and first.relevance > 0.5
    crowd = [said(f"c{i}", f"Cluster {i}.", tags=("k8s",)) for i in range(40)]
    crowded = indexed([*memories, *crowd])
    found = {one.id: one.relevance for one in crowded.search(RetrievalQuery("k8s story", k=100))}
    relevance = found["cluster"]
    # One of forty bearers is less special.
    assert relevance is not None and relevance < first.relevance / 2


def test_tags_follow_their_memories() -> None:
    index = indexed([said("a", "One.", tags=("k8s",)), said("b", "Two.")])
    index.upsert([said("a", "One."), said("b", "Two.", tags=("k8s",))])
    assert index.search(asked("k8s two"))[0].id == "b"
    index.remove(["b"])
    assert all(part.signal != "tag" for one in index.search(asked("k8s one")) for part in one.parts)


def test_tags_go_with_their_last_bearer() -> None:
    index = indexed([said("a", "One.", tags=("tag-0",))])
    index.search(asked("tag 0"))
    before = index.memory_bytes
    for number in range(1, 500):
        index.upsert([said("a", "One.", tags=(f"tag-{number}",))])
        index.remove(["a"])
    index.upsert([said("a", "One.", tags=("tag-0",))])
    assert index.memory_bytes < 1.2 * before


def test_hidden_tags_lift_nothing() -> None:
    index = indexed([said("a", "One.", visibility="shared"), said("b", "Two.", tags=("k8s",))])
    query = RetrievalQuery("k8s one", visible=OneOf("visibility", ("shared",)))
    found = index.search(query)
    assert [one.id for one in found] == ["a"]
    assert found == indexed([said("a", "One.", visibility="shared")]).search(asked("k8s one"))
