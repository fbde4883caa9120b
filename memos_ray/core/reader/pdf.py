"""The text of a PDF, page by page."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memos_ray.core.reader.chunking import missing_extra
from memos_ray.core.reader.decoding import without_surrogates
from memos_ray.core.reader.draft import ItemError
from memos_ray.errors import InvalidInputError

if TYPE_CHECKING:
    from pypdf import PdfReader

WITHOUT_TEXT = "page_without_text"
"""The code of a page that is blank, or a picture."""

_SIGNATURE = b"%PDF-"
# The signature may stand behind some junk (PDF 1.7, appendix H.3).
_SIGNATURE_REACH = 1024


@dataclass(frozen=True, slots=True)
class PdfPage:
    """One page with text.

    Attributes:
        number: 1-based, in the order of the file.
        replaced_characters: how many had no valid Unicode value and are U+FFFD in the text.
    """

    number: int
    text: str
    replaced_characters: int = 0


@dataclass(frozen=True, slots=True)
class PdfDocument:
    """The title, if the file states one, and a lazy walk over the pages."""

    title: str | None
    pages: Iterator[PdfPage | ItemError]


def parse_pdf(data: bytes) -> PdfDocument:
    """Opens a PDF. A file encrypted with an empty password, as for mere restrictions, is read.

    Raises:
        InvalidInputError: with `reason` `empty`, `encrypted`, `not_a_pdf` or `corrupt`.
        ConfigurationError: the extra `memos-ray[ingest]` is not installed.
    """
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError
    except ImportError:
        raise missing_extra("pypdf") from None
    # What it makes of a damaged file quotes the file.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    if not data.strip():
        raise InvalidInputError("the PDF is empty", reason="empty")
    if _SIGNATURE not in data[:_SIGNATURE_REACH]:
        raise InvalidInputError("the input is not a PDF", reason="not_a_pdf")
    try:
        reader = PdfReader(io.BytesIO(data))
        readable = not reader.is_encrypted or bool(reader.decrypt(""))
        count = len(reader.pages) if readable else 0
        title = _title(reader) if readable else None
    except DependencyError:
        raise missing_extra("pypdf with cryptography") from None
    except Exception as error:
        # A damaged file makes the parser fail in many ways (KeyError, RecursionError, ...), and
        # every one of them means the same to the caller.
        raise InvalidInputError(
            "the PDF is damaged", reason="corrupt", failure=type(error).__name__
        ) from error
    if not readable:
        raise InvalidInputError("the PDF is encrypted with a password", reason="encrypted")
    if count == 0:
        raise InvalidInputError("the PDF has no pages", reason="empty")
    return PdfDocument(title, _pages(reader, count))


def _title(reader: PdfReader) -> str | None:
    stated = reader.metadata.title if reader.metadata else None
    return without_surrogates(str(stated))[0].strip() or None if stated else None


def _pages(reader: PdfReader, count: int) -> Iterator[PdfPage | ItemError]:
    for index in range(count):
        number = index + 1
        try:
            raw = reader.pages[index].extract_text()
        except Exception as error:
            # As above; one bad page must not cost the others.
            message = f"page {number} cannot be read ({type(error).__name__})"
            yield ItemError(number, "unreadable_page", message)
            continue
        text, replaced = without_surrogates(raw)
        if text.strip():
            yield PdfPage(number, text, replaced)
        else:
            message = f"page {number} has no text; a scanned page needs character recognition first"
            yield ItemError(number, WITHOUT_TEXT, message)
