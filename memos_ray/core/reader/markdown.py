"""The structure of a Markdown document: front matter, and sections under their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo

import yaml

from memos_ray.core.cube.metadata import Attribute
from memos_ray.core.reader.timestamps import parse_timestamp

# YAML is read by a slow parser; more than this is no front matter.
_MOST_FRONT_MATTER_CHARS = 16_000
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_CLOSING_MARKS = re.compile(r"[ \t]+#+[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
# A line that begins another kind of block cannot be the text of an underlined heading.
_NOT_A_TITLE = re.compile(r"[ \t]*$| {4}|\t| {0,3}(?:[-*+>|#]|\d+[.)]|`{3}|~{3}|<)")


@dataclass(frozen=True, slots=True)
class Section:
    """The text from one heading to the next, the heading line included.

    Attributes:
        trail: titles of the headings above and of its own, outermost first.
    """

    trail: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class MarkdownDocument:
    """What front matter and headings say about a document, and its sections in order."""

    sections: tuple[Section, ...]
    title: str | None = None
    time: datetime | None = None
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def parse_markdown(text: str, tz: tzinfo) -> MarkdownDocument:
    """Splits a document at its headings (ATX and underlined, outside of code fences).

    A section of nothing but its heading is dropped when deeper ones follow, whose trails name it.

    Args:
        text: the document.
        tz: the zone of a date in the front matter.
    """
    front, body = _front_matter(text)
    sections = tuple(_sections(body))
    stated = _scalar(front.pop("title", None))
    tags = front.pop("tags", None)
    listed = tags if isinstance(tags, list) else (_scalar(tags) or "").split(",")
    named = (_scalar(tag) for tag in listed)
    return MarkdownDocument(
        sections=sections,
        title=stated or _only_root(sections),
        time=_time(front.pop("date", None), tz),
        tags=tuple(tag for tag in named if tag),
        attributes={str(k): v for k, v in front.items() if isinstance(v, str | int | float | bool)},
    )


def _scalar(value: object) -> str | None:
    # Anything nested may unfold without end through aliases when it is turned into text.
    return str(value).strip() or None if isinstance(value, str | int | float | date) else None


def _only_root(sections: tuple[Section, ...]) -> str | None:
    roots = {section.trail[0] for section in sections if section.trail}
    return roots.pop() if len(roots) == 1 else None


def _front_matter(text: str) -> tuple[dict[str, object], str]:
    if not text.startswith("---\n"):
        return {}, text
    end = text.find("\n---", 3, _MOST_FRONT_MATTER_CHARS)
    if end < 0:
        return {}, text
    try:
        found = yaml.safe_load(text[4 : end + 1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, text
    if not isinstance(found, dict):
        return {}, text
    return found, text[text.find("\n", end + 1) + 1 :] if "\n" in text[end + 1 :] else ""


def _time(value: object, tz: tzinfo) -> datetime | None:
    text = value.isoformat() if isinstance(value, date) else value
    try:
        return None if text is None else parse_timestamp(text, tz)
    except ValueError:
        return None


def _sections(text: str) -> Iterator[Section]:
    trail: list[tuple[int, str]] = []
    lines: list[str] = []
    has_body = False
    for line, level, title in _lines(text):
        if level is None:
            lines.append(line)
            has_body = has_body or bool(line.strip())
            continue
        parent = bool(trail) and level > trail[-1][0]
        if has_body or (trail and not parent):
            yield Section(tuple(t for _, t in trail), "\n".join(lines))
        while trail and trail[-1][0] >= level:
            trail.pop()
        trail.append((level, title))
        lines, has_body = [line], False
    if has_body or trail:
        yield Section(tuple(t for _, t in trail), "\n".join(lines))


def _lines(text: str) -> Iterator[tuple[str, int | None, str]]:
    """Yields each line, with level and title if it is a heading."""
    fence = ""
    source = text.split("\n")
    index = 0
    while index < len(source):
        line = source[index]
        index += 1
        mark = _FENCE.match(line)
        if fence:
            closes = mark is not None and mark[1].startswith(fence) and not line.strip(" `~")
            fence = "" if closes else fence
            yield line, None, ""
        elif mark is not None:
            fence = mark[1]
            yield line, None, ""
        elif (heading := _HEADING.match(line)) is not None:
            yield line, len(heading[1]), _plain(heading[2] or "")
        elif index < len(source) and _is_underlined(source, index):
            level = 1 if "=" in source[index] else 2
            yield f"{line}\n{source[index]}", level, _plain(line)
            index += 1
        else:
            yield line, None, ""


def _is_underlined(source: list[str], index: int) -> bool:
    if _UNDERLINE.match(source[index]) is None or _NOT_A_TITLE.match(source[index - 1]):
        return False
    # Only a paragraph of one line is taken as a title; longer ones before a rule are text.
    return index < 2 or not source[index - 2].strip()


def _plain(title: str) -> str:
    return re.sub(r"[*_`]+", "", _CLOSING_MARKS.sub("", title)).strip() or "(untitled)"
