"""The examples in the documents do what the documents say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memos_ray.core.cube import filters
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.formats import HEAD_BYTES, Format, detect_format
from memos_ray.core.reader.options import ReadOptions
from memos_ray.core.reader.read import read
from memos_ray.testing.rest_door import RestDoor, rest_door
from scripts.write_docs import DOCS

NOW = datetime(2023, 5, 10, tzinfo=UTC)


def _fenced(page: str, kind: str) -> list[str]:
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _rows(page: str, heading: str) -> list[list[str]]:
    text = (DOCS / page).read_text()
    table = text.split(heading, 1)[1].split("\n\n", 1)[0]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in table.splitlines()
        if line.startswith("| `")
    ]


@pytest.fixture
async def door(tmp_path: Path) -> Any:
    async with rest_door(tmp_path) as opened:
        yield opened


async def test_filters_find_what_their_page_says(door: RestDoor) -> None:
    for example in _fenced("filters.md", "json"):
        await door.done("POST", "/v1/memories", json.loads(example))
    rows = _rows("filters.md", "| filter | finds |")
    assert len(rows) > 20
    for expression, wanted in rows:
        page = await door.done(
            "GET", "/v1/memories", params={"filter": expression.strip("`"), "limit": 10}
        )
        found = sorted(memory["id"] for memory in page["memories"])
        if "now" not in expression:
            assert found == wanted.split(), expression
        assert found == ([] if "> now" in expression else wanted.split()), expression


def test_both_spellings_of_a_filter_mean_the_same() -> None:
    rows = _rows("filters.md", "| expression | JSON |")
    assert len(rows) > 8
    for expression, document in rows:
        one = filters.parse(expression.strip("`"), NOW)
        other = filters.parse(json.loads(document.strip("`")), NOW)
        assert one == other, expression


@pytest.mark.parametrize("format", list(Format), ids=str)
def test_a_format_is_read_as_its_page_shows(format: Format) -> None:
    if format is Format.PDF:
        pytest.skip("no PDF in a text")
    (example,) = _fenced("ingest.md", format.value)
    data = example.encode()
    read_as = list(read(data, "", ReadOptions(), format=format))
    assert read_as and not [one for one in read_as if isinstance(one, ItemError)]
    assert all(isinstance(one, Draft) and one.text for one in read_as)
    names = {
        Format.MESSAGES: "a.json",
        Format.LOCOMO: "a.json",
        Format.NEUTRAL: "a.json",
        Format.MESSAGES_JSONL: "a.jsonl",
        Format.EVENTS_JSONL: "a.jsonl",
        Format.EVENTS_CSV: "a.csv",
        Format.MARKDOWN: "a.md",
        Format.TEXT: "a.txt",
    }
    assert detect_format(names[format], data[:HEAD_BYTES]) is format


async def test_the_tour_through_rest_goes_as_written(door: RestDoor) -> None:
    requests = _fenced("rest.md", "http")
    assert len(requests) > 12
    for request in requests:
        line, _, body = request.partition("\n")
        method, path = line.split()
        answer = await door.call(method, path, json.loads(body) if body else None)
        assert answer.is_success, f"{line}: {answer.text}"
    found = await door.done("POST", "/v1/search", {"query": "night train"})
    assert found["hits"][0]["memory"]["id"] == "trains-1"


def test_the_example_of_a_problem_is_one() -> None:
    from memos_ray.errors import error_by_code
    from memos_ray.gateway.problem_model import Problem

    (example,) = _fenced("errors.md", "json")
    problem = Problem.model_validate_json(example)
    cls = error_by_code(problem.code)
    assert problem.status == cls.http_status and problem.title in (cls.__doc__ or "")
