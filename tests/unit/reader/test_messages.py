"""One message, in the shapes of chat APIs and exports."""

from __future__ import annotations

import pytest

from memos_ray.core.reader.messages import UnreadableItemError, read_message


@pytest.mark.parametrize(
    ("value", "role", "speaker"),
    [
        ({"role": "user", "content": "x"}, "user", None),
        ({"role": "User", "name": "Ann", "content": "x"}, "user", "Ann"),
        ({"role": "developer", "content": "x"}, "system", None),
        ({"role": "function", "name": "search", "content": "x"}, "tool", "search"),
        ({"from": "human", "value": "x"}, "user", None),
        ({"from": "gpt", "value": "x"}, "assistant", None),
        ({"speaker": "Caroline", "text": "x"}, None, "Caroline"),
        ({"role": "Caroline", "text": "x"}, None, "Caroline"),
        ({"author": "Tom", "message": "x"}, None, "Tom"),
        ({"role": 7, "text": "x"}, None, "7"),
        ({"role": {"name": "user"}, "text": "x"}, None, None),
    ],
)
def test_who_speaks(value: dict[str, object], role: str | None, speaker: str | None) -> None:
    found = read_message(value)
    assert (found.role, found.speaker) == (role, speaker)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"content": "  hello \n"}, "hello"),
        ({"content": ["one", {"type": "text", "text": "two"}]}, "one\ntwo"),
        ({"content": [{"type": "output_text", "text": "said"}]}, "said"),
        ({"content": None, "refusal": "I cannot"}, "I cannot"),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, "no"),
        ({"content": "", "text": "ignored", "refusal": "no"}, "no"),
        ({"content": "e\u0301"}, "\u00e9"),
        (
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"name": "find", "arguments": '{"q": 1}'}}],
            },
            '[calls find {"q": 1}]',
        ),
        ({"function_call": {"name": "find", "arguments": "{}"}}, "[calls find {}]"),
        (
            {"content": [{"type": "tool_use", "name": "find", "input": {"q": 1}}]},
            '[calls find {"q":1}]',
        ),
        (
            {"content": [{"type": "tool_result", "content": [{"type": "text", "text": "3"}]}]},
            "3",
        ),
    ],
)
def test_what_is_said(value: dict[str, object], text: str) -> None:
    assert read_message(value).text == text


@pytest.mark.parametrize(
    ("part", "reference"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x/a.png"}}, "https://x/a.png"),
        ({"type": "input_image", "image_url": "https://x/a.png"}, "https://x/a.png"),
        ({"type": "input_image", "file_id": "f1"}, "file-id:f1"),
        (
            {"type": "image", "source": {"media_type": "image/jpeg", "data": "QQ=="}},
            "data:image/jpeg;base64,QQ==",
        ),
        ({"type": "image", "source": {"url": "https://x/a.png"}}, "https://x/a.png"),
        (
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
            "data:audio/mpeg;base64,QQ==",
        ),
        ({"type": "file", "file": {"file_id": "f2"}}, "file-id:f2"),
        ({"type": "input_file", "file_url": "https://x/a.pdf"}, "https://x/a.pdf"),
    ],
)
def test_what_is_shown(part: dict[str, object], reference: str) -> None:
    found = read_message({"role": "user", "content": [part]})
    assert (found.text, found.attachments) == ("", (reference,))


def test_everything_else_that_a_message_carries() -> None:
    found = read_message(
        {
            "id": 12,
            "session_id": "s1",
            "text": "x",
            "tags": ["a", 5, "b"],
            "attachments": ["https://x/1"],
            "metadata": {"mood": "good", "rank": 3, "nested": {"lost": 1}, "flag": True},
            "tool_call_id": "t1",
            "created_at": 1683554160,
        }
    )
    assert (found.item, found.session, found.time) == ("12", "s1", 1683554160)
    assert found.tags == ("a", "b")
    assert found.attachments == ("https://x/1",)
    assert found.attributes == {"mood": "good", "rank": 3, "flag": True, "tool_call_id": "t1"}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("just text", "invalid_item"),
        (None, "invalid_item"),
        ([], "invalid_item"),
        ({"role": "user"}, "empty_item"),
        ({"role": "user", "content": "  "}, "empty_item"),
        ({"role": "user", "content": []}, "empty_item"),
        ({"content": 5}, "invalid_content"),
        ({"content": [5]}, "invalid_content"),
        ({"content": [{"type": "image_url", "image_url": {}}]}, "invalid_content"),
        ({"content": [{"type": "input_audio"}]}, "invalid_content"),
        ({"content": "x", "tool_calls": [{}]}, "invalid_content"),
        ({"content": [{"type": "hologram"}]}, "unsupported_part"),
        ({"content": "a\0b"}, "nul_character"),
        ({"content": "x", "name": "a\0b"}, "nul_character"),
        ({"content": "x", "metadata": {"k": "a\0b"}}, "nul_character"),
        ({"content": "x", "time": {"at": 1}}, "invalid_time"),
    ],
)
def test_what_cannot_be_read_says_why(value: object, code: str) -> None:
    with pytest.raises(UnreadableItemError) as caught:
        read_message(value)
    assert caught.value.code == code
