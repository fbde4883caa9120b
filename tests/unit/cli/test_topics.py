"""Commands on topics, predicted tags, relations and paths."""

from __future__ import annotations

import time
from typing import Any

import pytest

from memos_ray.cli.exits import ExitCode


@pytest.fixture(scope="module")
def ids(call: Any) -> list[str]:
    texts = ("The guitar concert was loud.", "A guitar concert for Xaver.", "Beans grow slowly.")
    added = [str(call("add", text)["id"]) for text in texts]
    call("search", "guitar", "--wait-indexed")
    until = time.monotonic() + 60
    while call("topics", "ls")["waiting"] and time.monotonic() < until:
        time.sleep(0.01)
    return added


def test_OPER_1_topics_on_the_command_line(call: Any, run: Any, ids: list[str]) -> None:
    listed = call("topics", "tree")["topics"]
    assert sum(topic["memories"] for topic in listed) == len(ids)
    tree = run("topics", "tree").stdout
    for topic in listed:
        assert topic["label"] in tree and topic["concepts"][0]["id"] in tree
    assert listed[0]["concepts"][0]["id"] not in run("topics", "ls").stdout
    page = call("topics", "show", listed[0]["id"], "--limit", "1")
    assert page["topic"]["id"] == listed[0]["id"]
    assert page["memories"][0]["text"] in run("topics", "show", listed[0]["id"]).stdout
    assert call("topics", "show", "absent", code=ExitCode.NOT_FOUND)["code"] == "not_found"


def test_OPER_1_predicted_tags_on_the_command_line(call: Any, run: Any, ids: list[str]) -> None:
    tags = call("topics", "tags", ids[0])["predicted"]
    assert {one["kind"] for one in tags} == {"topic", "source", "credibility", "sentiment"}
    assert "source: user" in run("topics", "tags", ids[0]).stdout


def test_OPER_1_relations_on_the_command_line(call: Any, run: Any, ids: list[str]) -> None:
    related = call("graph", "related", ids[0])["related"]
    assert ids[1] in {one["memory"]["id"] for one in related}
    assert "shares" in run("graph", "related", ids[0]).stdout
    names = call("graph", "entities")["entities"]
    assert [one["name"] for one in names] == ["xaver"]
    assert "xaver" in run("graph", "entities").stdout


def test_OPER_3_paths_on_the_command_line(call: Any, run: Any, ids: list[str]) -> None:
    plan = call("topics", "route", "guitar concert")
    assert [step["namespace"] for step in plan["steps"]] == ["user:admin"]
    assert "1. user:admin (private)" in run("topics", "route", "guitar concert").stdout
    assert call("topics", "layers")["layers"]["private"] == ["user:admin"]
    assert "private: user:admin" in run("topics", "layers").stdout
    hits = call("search", "guitar concert", "--route")["hits"]
    assert {hit["memory"]["id"] for hit in hits} == set(ids)
