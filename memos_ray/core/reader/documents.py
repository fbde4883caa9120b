"""Documents: plain text, Markdown and PDF, cut into chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from memos_ray.core.cube.metadata import Attribute, SemanticType
from memos_ray.core.reader.chunking import Chunker
from memos_ray.core.reader.decoding import decode
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.markdown import parse_markdown
from memos_ray.core.reader.options import ReadOptions
from memos_ray.core.reader.pdf import PdfPage, parse_pdf
from memos_ray.core.reader.times import resolve_times
from memos_ray.errors import InvalidInputError


class _Drafter:
    """Makes drafts of the chunks of one document, in order."""

    def __init__(self, options: ReadOptions, chunker: Chunker) -> None:
        self._options = options
        self._chunker = chunker
        self._position = 0

    def drafts(
        self,
        text: str,
        *,
        session: str | None = None,
        item: str | None = None,
        tags: tuple[str, ...] = (),
        event_time: datetime | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> Iterator[Draft]:
        options = self._options
        moment = event_time or options.event_time
        for chunk in self._chunker.chunks(text):
            yield Draft(
                text=chunk,
                semantic_type=SemanticType.DOCUMENT,
                conversation=options.conversation,
                session=session,
                position=self._position,
                event_time=moment,
                mentions=resolve_times(chunk, moment, tz=options.tz, language=options.language),
                tags=tags,
                source_uri=options.source_uri,
                source_item=item,
                attributes=dict(attributes or {}),
            )
            self._position += 1


def read_text(data: bytes, options: ReadOptions) -> Iterator[Draft | ItemError]:
    """Reads plain text; see `decode` for what it raises, before the first chunk.

    Raises:
        InvalidInputError: nothing but blanks, or not text.
        ConfigurationError: the extra `memos-ray[ingest]` is not installed.
    """
    text = _not_blank(decode(data))
    return _Drafter(options, Chunker(options.chunks, "text")).drafts(text)


def read_markdown(data: bytes, options: ReadOptions) -> Iterator[Draft | ItemError]:
    """Reads Markdown; the session of a chunk is its trail of headings ("Setup > Linux").

    Chunks never cross a heading. The document's title, from its front matter or its only top-level
    heading, is the attribute `title`, the nearest heading is `heading`.

    Raises:
        InvalidInputError: nothing but blanks, or not text.
        ConfigurationError: the extra `memos-ray[ingest]` is not installed.
    """
    document = parse_markdown(_not_blank(decode(data)), options.tz)
    drafter = _Drafter(options, Chunker(options.chunks, "markdown"))
    return (
        draft
        for section in document.sections
        for draft in drafter.drafts(
            section.text,
            session=" > ".join(section.trail) or None,
            tags=document.tags,
            event_time=document.time,
            attributes=_titled(document.attributes, document.title, section.trail),
        )
    )


def _titled(
    attributes: Mapping[str, Attribute], title: str | None, trail: tuple[str, ...]
) -> dict[str, Attribute]:
    found = dict(attributes)
    if title:
        found["title"] = title
    if trail:
        found["heading"] = trail[-1]
    return found


def read_pdf(data: bytes, options: ReadOptions) -> Iterator[Draft | ItemError]:
    """Reads a PDF page by page; a page that cannot be read is one error, the rest goes on.

    The item of a chunk is `page=4`, as in a link to the file (RFC 8118); the attribute `page` is
    the number, `title` the document's title.

    Raises:
        InvalidInputError: encrypted, damaged, or without pages; raised before the first page.
        ConfigurationError: the extra `memos-ray[ingest]` is not installed.
    """
    document = parse_pdf(data)
    drafter = _Drafter(options, Chunker(options.chunks, "text"))
    return _pages(document.pages, document.title, drafter)


def _pages(
    pages: Iterable[PdfPage | ItemError], title: str | None, drafter: _Drafter
) -> Iterator[Draft | ItemError]:
    for page in pages:
        if isinstance(page, ItemError):
            yield page
            continue
        attributes: dict[str, Attribute] = {"page": page.number}
        if title:
            attributes["title"] = title
        if page.replaced_characters:
            attributes["replaced_characters"] = page.replaced_characters
        yield from drafter.drafts(page.text, item=f"page={page.number}", attributes=attributes)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise InvalidInputError("the input is empty", reason="empty")
    return text
