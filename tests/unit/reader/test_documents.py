"""Documents: text, Markdown with its headings and front matter, PDF page by page; chunks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.chunking import count_words
from memos_ray.core.reader.documents import read_markdown, read_pdf, read_text
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.options import ChunkSize, ReadOptions
from memos_ray.errors import InvalidInputError

OPTIONS = ReadOptions(conversation="doc", source_uri="file:doc")


def markdown(text: str, options: ReadOptions = OPTIONS) -> list[Draft]:
    return [d for d in read_markdown(text.encode(), options) if isinstance(d, Draft)]


def pdf(*pages: str | None, title: str | None = None, password: str | None = None) -> bytes:
    """Builds a PDF with one line of text a page; none is an empty page."""
    writer = PdfWriter()
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
        }
    )
    for text in pages:
        page = writer.add_blank_page(300, 300)
        if text is not None:
            content = DecodedStreamObject()
            content.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
            fonts = DictionaryObject({NameObject("/F1"): font})
            page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
            page[NameObject("/Contents")] = content
    if title is not None:
        writer.add_metadata({"/Title": title})
    if password is not None:
        writer.encrypt(password, algorithm="RC4-128")
    held = io.BytesIO()
    writer.write(held)
    return held.getvalue()


def read(data: bytes) -> list[Draft | ItemError]:
    return list(read_pdf(data, OPTIONS))


def test_a_text_is_cut_into_chunks_that_miss_nothing() -> None:
    sentences = [f"This is sentence number {number} of the text." for number in range(60)]
    options = ReadOptions(conversation="doc", chunks=ChunkSize(40))
    found = [d for d in read_text(" ".join(sentences).encode(), options) if isinstance(d, Draft)]
    assert len(found) > 5
    assert [d.position for d in found] == list(range(len(found)))
    assert all(count_words(d.text) <= 40 for d in found)
    assert " ".join(d.text for d in found).split() == " ".join(sentences).split()
    assert {d.semantic_type for d in found} == {SemanticType.DOCUMENT}


def test_chunks_may_overlap() -> None:
    text = " ".join(f"word{number}" for number in range(100))
    options = ReadOptions(chunks=ChunkSize(20, overlap=5))
    found = [d.text.split() for d in read_text(text.encode(), options) if isinstance(d, Draft)]
    assert all(one[-5:] == other[:5] for one, other in pairwise(found))


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (5, 5), (5, -1)])
def test_sizes_that_make_no_sense_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(InvalidInputError):
        ChunkSize(size, overlap)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("one two", 2), ("我爱吃面条", 5), ("我爱 Python", 3), ("x" * 200, 10)],
)
def test_words_are_counted_in_every_script(text: str, words: int) -> None:
    assert count_words(text) == words


def test_chinese_is_cut_by_characters() -> None:
    options = ReadOptions(chunks=ChunkSize(50))
    text = "我们今天去公园散步,天气很好。" * 30
    found = [d.text for d in read_text(text.encode(), options) if isinstance(d, Draft)]
    assert len(found) >= 9
    assert max(map(len, found)) <= 50
    assert "".join(found) == text


def test_crafted_texts_do_not_hold_the_reader() -> None:
    """Fed whole, these take the splitter superlinear time."""
    options = ReadOptions(chunks=ChunkSize(180))
    for text in ("x" * 400_000, "a\n" + "\n" * 400_000 + "b", "word " * 100_000):
        found = [d.text for d in read_text(text.encode(), options) if isinstance(d, Draft)]
        assert "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize("data", [b"", b" \n\n ", "\ufeff \n".encode()])
def test_a_document_of_nothing_is_refused(data: bytes) -> None:
    for reader in (read_text, read_markdown):
        with pytest.raises(InvalidInputError):
            reader(data, OPTIONS)


def test_sections_stand_under_their_headings() -> None:
    found = markdown(
        """# Guide
Welcome.
## Setup
### Linux
Use apt.
### Windows ###
Click.
## Use
Type.
"""
    )
    assert [(d.session, d.text) for d in found] == [
        ("Guide", "# Guide\nWelcome."),
        ("Guide > Setup > Linux", "### Linux\nUse apt."),
        ("Guide > Setup > Windows", "### Windows ###\nClick."),
        ("Guide > Use", "## Use\nType."),
    ]
    assert {d.attributes["title"] for d in found} == {"Guide"}
    assert [d.attributes["heading"] for d in found] == ["Guide", "Linux", "Windows", "Use"]


def test_underlined_headings_and_text_before_any() -> None:
    found = markdown("before\n\nTitle\n=====\nwords\n\nPart *two*\n---\nmore\n")
    assert [(d.session, d.text) for d in found] == [
        (None, "before"),
        ("Title", "Title\n=====\nwords"),
        ("Title > Part two", "Part *two*\n---\nmore"),
    ]


def test_what_only_looks_like_a_heading() -> None:
    text = "```sh\n# a comment\n~~~\n# another\n```\n#hashtag\n    # code\n- item\n---\ntext"
    (draft,) = markdown(text)
    assert (draft.session, draft.attributes) == (None, {})


def test_two_titles_are_no_title_of_the_document() -> None:
    assert {d.attributes.get("title") for d in markdown("# One\na\n# Two\nb\n")} == {None}


def test_front_matter_speaks_for_the_document() -> None:
    found = markdown(
        """---
title: The Guide
date: 2023-05-08
tags: [travel, 7, {nested: x}]
draft: true
rank: 2
authors: [ann]
---
words
"""
    )
    (draft,) = found
    assert draft.text == "words"
    assert draft.event_time == datetime(2023, 5, 8, tzinfo=UTC)
    assert draft.tags == ("travel", "7")
    assert draft.attributes == {"title": "The Guide", "draft": True, "rank": 2}


@pytest.mark.parametrize(
    "front",
    ["---\n: : :\n---\n", "---\n- a list\n---\n", "---\nnever closed\n", "---\na: &x [*x]\n---\n"],
)
def test_what_is_no_front_matter_is_text(front: str) -> None:
    found = markdown(front + "words")
    assert "words" in found[-1].text


def test_times_of_a_document_resolve_by_its_date() -> None:
    (draft,) = markdown("---\ndate: 2023-05-08\n---\nWe meet tomorrow.")
    assert draft.mentions[0].start == datetime(2023, 5, 9, tzinfo=UTC)


def test_a_pdf_is_read_page_by_page() -> None:
    found = read(pdf("Hello page one", None, "Hello page three", title="The Title"))
    texts = [d for d in found if isinstance(d, Draft)]
    assert [(d.text, d.source_item, d.position) for d in texts] == [
        ("Hello page one", "page=1", 0),
        ("Hello page three", "page=3", 1),
    ]
    assert texts[1].attributes == {"page": 3, "title": "The Title"}
    assert [(e.position, e.code) for e in found if isinstance(e, ItemError)] == [
        (2, "page_without_text")
    ]


def test_a_pdf_with_restrictions_only_is_read() -> None:
    (draft,) = [d for d in read(pdf("Hello", password="")) if isinstance(d, Draft)]
    assert draft.text == "Hello"


def test_a_signature_behind_junk_is_found() -> None:
    data = b"junk\n" + pdf("Hello")
    assert [d.text for d in read(data) if isinstance(d, Draft)] == ["Hello"]


def broken(data: bytes, places: Sequence[int]) -> bytes:
    held = bytearray(data)
    for place in places:
        held[place] ^= 0xFF
    return bytes(held)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"   ", "empty"),
        (b"PK\x03\x04 not at all", "not_a_pdf"),
        (b"%PDF-1.7\nnothing more", "corrupt"),
        (pdf("Hello", password="open sesame"), "encrypted"),
        (pdf(), "empty"),
    ],
)
def test_files_that_cannot_be_opened_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read(data)
    assert caught.value.details["reason"] == reason


def test_no_damage_brings_the_reader_down() -> None:
    """Whatever byte is wrong, the answer is text, an item error, or a refusal."""
    data = pdf("Hello page one", "Hello page two")
    assert len(PdfReader(io.BytesIO(data)).pages) == 2
    for place in range(9, len(data), 7):
        try:
            found = read(broken(data, [place]))
        except InvalidInputError as error:
            assert error.details["reason"] in ("corrupt", "encrypted", "empty", "not_a_pdf")
        else:
            assert all(isinstance(one, Draft | ItemError) for one in found)


def test_nothing_of_a_damaged_pdf_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidInputError):
        read(b"%PDF-1.4 the walrus")
    assert caplog.records == []
