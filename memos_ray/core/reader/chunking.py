"""Cuts text at sensible places: sentences and paragraphs, or the blocks of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from memos_ray.core.reader.options import ChunkSize
from memos_ray.errors import ConfigurationError

Syntax = Literal["text", "markdown"]

# Scripts without blanks between words: Han and kana are counted one by one.
_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_UNSPACED_RUN = re.compile(rf"[{_UNSPACED}]+")
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
# So that base64 or minified code does not pass as one endless word.
_LONGEST_WORD_CHARS = 20
# The splitter takes superlinear time on crafted input (a text without blanks; thousands of blank
# lines), so it is fed in pieces of about fifty chunks, and runs of blank lines are cut short.
_FEED_CHARS = 50_000
_MOST_BLANK_LINES = 2


def count_words(text: str) -> int:
    """Counts words; a Chinese or Japanese character counts as one, as do 20 letters in a row."""
    unspaced = not text.isascii() and _UNSPACED_RUN.search(text)
    words = len(_WORD.findall(text)) if unspaced else len(text.split())
    return max(words, len(text) // _LONGEST_WORD_CHARS)


class Chunker:
    """Cuts texts into chunks of a size; trimmed, never empty.

    Raises:
        ConfigurationError: the extra `memos-ray[ingest]` is not installed.
    """

    def __init__(self, size: ChunkSize, syntax: Syntax) -> None:
        try:
            from semantic_text_splitter import MarkdownSplitter, TextSplitter
        except ImportError:
            raise missing_extra("semantic-text-splitter") from None
        kind = TextSplitter if syntax == "text" else MarkdownSplitter
        self._by_characters = kind(size.size, overlap=size.overlap)
        self._by_words = self._by_characters
        if size.unit == "words":
            self._by_words = kind.from_callback(count_words, size.size, overlap=size.overlap)

    def chunks(self, text: str) -> Iterator[str]:
        """Yields the chunks of a text in order."""
        for piece in _pieces(_without_gaps(text)):
            # Where a word is a character anyway, counting in Python would cost fifty times as much.
            unspaced = sum(map(len, _UNSPACED_RUN.findall(piece)))
            splitter = self._by_characters if 2 * unspaced > len(piece) else self._by_words
            yield from splitter.chunks(piece)


def missing_extra(package: str) -> ConfigurationError:
    """Returns the error that says which extra brings a package."""
    return ConfigurationError(
        f"reading documents needs {package}: install memos-ray[ingest]", extra="memos-ray[ingest]"
    )


def _without_gaps(text: str) -> str:
    kept: list[str] = []
    blank = 0
    for line in text.split("\n"):
        if line and not line.isspace():
            blank = 0
            kept.append(line)
        elif (blank := blank + 1) <= _MOST_BLANK_LINES:
            kept.append("")
    return "\n".join(kept)


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    while len(text) - begin > _FEED_CHARS:
        half, limit = begin + _FEED_CHARS // 2, begin + _FEED_CHARS
        marks = (text.rfind(mark, half, limit) for mark in ("\n\n", "\n", " "))
        end = next((cut for cut in marks if cut > 0), limit)
        yield text[begin:end]
        begin = end
    yield text[begin:]
