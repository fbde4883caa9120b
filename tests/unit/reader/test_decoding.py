"""Bytes become text as they were meant, or are refused with the place of what is wrong."""

from __future__ import annotations

import codecs
import unicodedata

import pytest

from memos_ray.core.reader.decoding import decode, normalise, without_surrogates
from memos_ray.errors import InvalidInputError

TEXT = "größe 日本 😀"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_byte_order_marks_are_understood_and_taken_away(mark: bytes, encoding: str) -> None:
    assert decode(mark + TEXT.encode(encoding)) == TEXT


def test_line_ends_become_one_kind() -> None:
    assert decode(b"a\r\nb\rc\nd\r\r\n") == "a\nb\nc\nd\n\n"


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"abc\xff", 3),
        ("größe".encode("latin-1"), 2),
        (codecs.BOM_UTF8 + b"ab\xc3", 5),
        (b"\xed\xa0\x80", 0),
        (codecs.BOM_UTF16_LE + b"a\0b", 4),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(data: bytes, offset: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode(data)
    assert caught.value.details["reason"] == "invalid_encoding"
    assert caught.value.details["byte_offset"] == offset


@pytest.mark.parametrize(
    ("data", "offset"),
    [(b"ab\0c", 2), ("ü\0".encode(), 2), (codecs.BOM_UTF16_LE + "ü\0".encode("utf-16-le"), 4)],
)
def test_nul_is_refused_with_its_place(data: bytes, offset: int) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode(data)
    assert caught.value.details == {"reason": "nul_character", "byte_offset": offset}


def test_text_is_composed() -> None:
    assert decode("e\u0301".encode()) == "\u00e9"
    assert normalise("\u1112\u1161\u11ab") == "\ud55c"


def test_long_runs_of_marks_are_cut_and_change_nothing_else() -> None:
    few = "e" + "\u0323" * 30
    assert normalise(few) == unicodedata.normalize("NFC", few)
    many = normalise("e" + "\u0323\u0301" * 500 + "x")
    assert many.count("\u034f") >= 32
    assert many.replace("\u034f", "").count("\u0301") == 500


def test_a_crafted_line_does_not_hold_the_reader() -> None:
    """Left as it is, this line takes the normalisation hours."""
    assert normalise("e" + "\u0323\u0301" * 200_000).startswith("\u1eb9")


def test_lenient_decoders_are_put_right() -> None:
    assert without_surrogates("a\ud800b\0c") == ("a\ufffdb\ufffdc", 2)
    assert without_surrogates("\ud83d\ude00") == ("\U0001f600", 0)
    assert without_surrogates("was \ufffd before") == ("was \ufffd before", 0)
