"""What exists is documented, and what is documented exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from memos_ray.config import Settings
from memos_ray.core.cube.filters import syntax
from memos_ray.core.pipeline.definition import Step
from memos_ray.core.reader.formats import Format
from memos_ray.errors import all_errors
from memos_ray.gateway.memories.ingestion import IngestOptions
from scripts.write_docs import DOCS, TABLES, pipeline_schema, renewed

ROOT = DOCS.parent
PAGES = sorted(DOCS.glob("*.md"))
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_follow_from_the_code(page: Path) -> None:
    text = page.read_text()
    assert renewed(text) == text, "run `make docs`"


def test_PIPE_1_the_schema_of_pipelines_follows_from_the_code() -> None:
    assert (DOCS / "pipeline.schema.json").read_text() == pipeline_schema(), "run `make docs`"


def test_PIPE_1_every_step_and_each_of_its_fields_is_explained() -> None:
    text = (DOCS / "pipelines.md").read_text()
    for step in get_args(Step):
        assert f"| `{step.model_fields['kind'].default}` |" in text
        assert [name for name in step.model_fields if f"`{name}`" not in text] == ["kind"]


def test_every_table_is_somewhere() -> None:
    everything = "".join(page.read_text() for page in PAGES)
    assert [name for name in TABLES if f"<!-- {name} -->" not in everything] == []


def test_every_error_has_a_section_that_helps() -> None:
    text = (DOCS / "errors.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert list(sections) == [cls.code for cls in all_errors()]
    for code, body in sections.items():
        parts = re.findall(r"^\*\*(.+?)\.\*\* \S", body, re.MULTILINE)
        assert parts == ["Meaning", "Cause", "What to do"], code


def test_every_setting_says_what_it_is_for() -> None:
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if name in ("data", "namespace", "cluster_cpus", "object_store_bytes"):
            assert field.description
        else:
            one = get_args(section)[0] if get_args(section) else section
            assert isinstance(one, type) and one.__doc__
            for inner in one.model_fields.values():  # type: ignore[attr-defined]
                assert inner.description, f"{name}: {inner}"


def test_every_ingest_format_and_option_is_explained() -> None:
    text = (DOCS / "ingest.md").read_text()
    rows = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    assert rows == {one.value for one in Format} | set(IngestOptions.model_fields)


def test_the_limits_of_filters_are_stated() -> None:
    text = (DOCS / "filters.md").read_text().replace(",", "")
    for limit in (
        syntax.DEPTH_MAX,
        syntax.NODES_MAX,
        syntax.VALUES_MAX,
        syntax.EXPRESSION_BYTES_MAX,
        syntax.TEXT_CHARS_MAX,
    ):
        assert re.search(rf"\b{limit}\b", text), limit
    assert [op.value for op in syntax.Op if f"`{op.value}`" not in text] == []


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md", ROOT / "deployments" / "README.md"], ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        target, _, anchor = link.partition("#")
        if target.startswith(("http:", "https:")):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists():
            broken.append(link)
        elif anchor and not _has_heading(file, anchor):
            broken.append(link)
    assert broken == []


def _has_heading(file: Path, anchor: str) -> bool:
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return anchor in slugs


def test_decisions_are_numbered_one_after_the_other() -> None:
    pages = sorted((DOCS / "adr").glob("0*.md"))
    for number, page in enumerate(pages, 1):
        assert page.name.startswith(f"{number:04}-")
        assert page.read_text().startswith(f"# {number}. "), page.name


def test_every_page_is_reachable_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES if f"docs/{page.name}" not in text] == []
