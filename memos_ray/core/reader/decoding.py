"""Bytes to text: byte order marks, UTF-8, NUL characters, and normalisation to NFC."""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import cache

from memos_ray.errors import InvalidInputError

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Stream-Safe Text Format (UAX 15, section 13): no text of any language has longer runs of marks.
_LONGEST_RUN_OF_MARKS = 30
_ASTRAL = re.compile(r"[\U00010000-\U0010ffff]")
_GRAPHEME_JOINER = "\u034f"


def decode(data: bytes) -> str:
    """Decodes UTF-8, or UTF-16 and UTF-32 behind a byte order mark; newlines become `\\n`.

    Nothing is replaced silently: what cannot be decoded is refused.

    Raises:
        InvalidInputError: with `reason` `invalid_encoding` or `nul_character` and `byte_offset`.
    """
    encoding, skip = "utf-8", 0
    for mark, name in _MARKS:
        if data.startswith(mark):
            encoding, skip = name, len(mark)
            break
    try:
        text = data[skip:].decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"the input is not valid {encoding.upper()}",
            reason="invalid_encoding",
            byte_offset=skip + error.start,
        ) from None
    if "\0" in text:
        offset = skip + len(text[: text.index("\0")].encode(encoding))
        raise InvalidInputError(
            "the input holds a NUL character", reason="nul_character", byte_offset=offset
        )
    return normalise(text.replace("\r\n", "\n").replace("\r", "\n"))


def normalise(text: str) -> str:
    """Returns NFC. Runs of more than 30 combining marks are cut by a grapheme joiner.

    Such runs occur in no language, but the normalisation of Python 3.11 takes quadratic time over
    them, which would let one crafted line hold a reader for hours.
    """
    if text.isascii():
        return text
    run = _long_run(0x1F000 if _ASTRAL.search(text) else 0xFFFF)
    safe = run.sub(lambda match: match[0] + _GRAPHEME_JOINER, text)
    return unicodedata.normalize("NFC", safe)


@cache
def _long_run(limit: int) -> re.Pattern[str]:
    # The engine looks a character up in one step if the set lies in the Basic Multilingual Plane
    # and is the first thing of the pattern; otherwise it is twenty times slower.
    marks = [c for c in map(chr, range(0x300, limit)) if unicodedata.combining(c)]
    mark = f"[{''.join(marks)}]"
    return re.compile(f"{mark}{mark}{{{_LONGEST_RUN_OF_MARKS - 1}}}(?={mark})")


def without_surrogates(text: str) -> tuple[str, int]:
    """Makes text from a lenient decoder storable: NUL and lone surrogates become U+FFFD.

    Returns:
        The text, NFC, and how many characters were replaced.
    """
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    replaced = joined.count("\ufffd") - text.count("\ufffd") + joined.count("\0")
    return normalise(joined.replace("\0", "\ufffd")), replaced
