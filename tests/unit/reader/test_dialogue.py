"""Dialogues in all layouts: order, sessions, times that are inherited, and items that are bad."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader.dialogue import read_json, read_jsonl
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.options import ReadOptions
from memos_ray.errors import InvalidInputError, UnsupportedFormatError

OPTIONS = ReadOptions(conversation="chat", source_uri="file:a.json")
MAY_8 = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


def drafts(found: Iterable[Draft | ItemError]) -> list[Draft]:
    return [one for one in found if isinstance(one, Draft)]


def read(value: object, options: ReadOptions = OPTIONS) -> list[Draft | ItemError]:
    return list(read_json(json.dumps(value).encode(), options))


def lines(*values: object, options: ReadOptions = OPTIONS) -> list[Draft | ItemError]:
    data = b"".join(
        (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n"
        for value in values
    )
    return list(read_jsonl(io.BytesIO(data), options))


def test_openai_messages() -> None:
    found = read(
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "I moved on 8 May 2023.", "id": "m2"},
            {"role": "assistant", "content": [{"type": "text", "text": "Noted."}]},
        ]
    )
    assert [(d.role, d.text, d.position) for d in drafts(found)] == [
        ("system", "Be kind.", 0),
        ("user", "I moved on 8 May 2023.", 1),
        ("assistant", "Noted.", 2),
    ]
    second = drafts(found)[1]
    assert second.semantic_type is SemanticType.EPISODE
    assert (second.conversation, second.source_uri, second.source_item) == (
        "chat",
        "file:a.json",
        "m2",
    )
    assert [mention.text for mention in second.mentions] == ["8 May 2023"]
    assert second.mentions[0].start == datetime(2023, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize("key", ["messages", "turns"])
def test_one_conversation_as_an_object(key: str) -> None:
    (draft,) = drafts(read({"id": "c9", key: [{"text": "hello"}], "time": "2023-05-08T13:56Z"}))
    assert (draft.conversation, draft.event_time) == ("c9", MAY_8)


def test_the_neutral_layout() -> None:
    found = drafts(
        read(
            {
                "conversations": [
                    {
                        "id": "a",
                        "turns": [
                            {
                                "id": "t1",
                                "role": "user",
                                "speaker": "Ann",
                                "session": "s1",
                                "time": "2023-05-08T13:56:00Z",
                                "text": "one",
                            },
                            {"id": "t2", "session": "s1", "text": "two"},
                        ],
                    },
                    {"turns": [{"text": "three"}]},
                ]
            }
        )
    )
    assert [(d.conversation, d.session, d.source_item, d.position) for d in found] == [
        ("a", "s1", "t1", 0),
        ("a", "s1", "t2", 1),
        ("chat-2", None, None, 0),
    ]
    assert (found[0].speaker, found[0].event_time) == ("Ann", MAY_8)
    assert found[1].event_time == MAY_8, "a turn without a time has that of the one before"


def test_the_locomo_layout() -> None:
    sample = {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ann",
            "session_10": [{"speaker": "Tom", "dia_id": "D10:1", "text": "later"}],
            "session_10_date_time": "10:00 am on 9 May, 2023",
            "session_2": [
                {"speaker": "Ann", "dia_id": "D2:1", "text": "Look!"},
                {
                    "speaker": "Tom",
                    "dia_id": "D2:2",
                    "text": "Nice.",
                    "img_url": ["https://x/1.png"],
                    "blip_caption": " a red kite ",
                },
            ],
            "session_2_date_time": "1:56 pm on 8 May, 2023",
        },
        "qa": [],
    }
    found = drafts(read([sample]))
    assert [(d.source_item, d.session, d.position) for d in found] == [
        ("D2:1", "session_2", 0),
        ("D2:2", "session_2", 1),
        ("D10:1", "session_10", 2),
    ]
    assert found[0].event_time == MAY_8
    assert found[1].text == "Nice. [shares a photo: a red kite]"
    assert found[1].attachments == ("https://x/1.png",)
    assert found[2].event_time == datetime(2023, 5, 9, 10, tzinfo=UTC)
    assert {d.conversation for d in found} == {"conv-1"}


def test_a_turn_takes_the_time_of_its_session_else_of_the_conversation_else_of_the_caller() -> None:
    options = ReadOptions(event_time=datetime(2020, 1, 1, tzinfo=UTC))
    turns = [
        {"session": "a", "text": "before the first time of its session"},
        {"session": "a", "text": "x", "time": "2023-05-08T13:56Z"},
        {"session": "b", "text": "a session without times"},
        {"session": "a", "text": "x", "time": "2023-05-08T14:56Z"},
        {"session": "a", "text": "behind"},
    ]
    found = drafts(read({"turns": turns, "date": "2022-01-01T00:00Z"}, options))
    assert [d.event_time for d in found] == [
        MAY_8,
        MAY_8,
        datetime(2022, 1, 1, tzinfo=UTC),
        MAY_8 + timedelta(hours=1),
        MAY_8 + timedelta(hours=1),
    ]
    (alone,) = drafts(read([{"text": "nothing says when"}], options))
    assert alone.event_time == options.event_time


def test_times_without_a_zone_are_of_the_callers_and_words_resolve_by_them() -> None:
    tokyo = timezone(timedelta(hours=9))
    options = ReadOptions(tz=tokyo)
    (draft,) = drafts(read([{"text": "we met yesterday", "time": "2023-05-08 01:00"}], options))
    assert draft.event_time == datetime(2023, 5, 7, 16, tzinfo=UTC)
    assert draft.mentions[0].start == datetime(2023, 5, 6, 15, tzinfo=UTC)


def test_a_bad_item_costs_itself_and_keeps_its_place() -> None:
    found = read(
        [
            {"role": "user", "content": "one"},
            {"role": "user"},
            "text",
            {"role": "user", "content": "four", "time": "soon"},
            {"role": "user", "content": "five"},
        ]
    )
    assert [(e.position, e.code) for e in found if isinstance(e, ItemError)] == [
        (2, "empty_item"),
        (3, "invalid_item"),
        (4, "invalid_time"),
    ]
    assert [(d.text, d.position) for d in drafts(found)] == [("one", 0), ("five", 4)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'[{"role": ', "invalid_json"),
        (b"\xff[]", "invalid_encoding"),
        (b"  ", "empty"),
        (b'{"id": "a\\u0000b", "messages": [{"text": "x"}]}', "nul_character"),
    ],
)
def test_an_input_that_is_no_json_is_refused_before_its_first_item(
    data: bytes, reason: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_json(data, OPTIONS)
    assert caught.value.details["reason"] == reason


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], ["text"], "text", 5, None])
def test_json_that_is_no_dialogue_is_said_to_be_none(value: object) -> None:
    with pytest.raises(UnsupportedFormatError):
        read_json(json.dumps(value).encode(), OPTIONS)


def test_an_empty_list_is_a_dialogue_of_nothing() -> None:
    assert read([]) == []


def test_lines_are_messages_of_their_conversations() -> None:
    found = lines(
        {"conversation_id": "a", "role": "user", "content": "a0"},
        {"conversation_id": "b", "role": "user", "content": "b0"},
        {"conversation_id": "a", "role": "user", "content": "a1"},
        {"role": "user", "content": "c0"},
    )
    assert [(d.conversation, d.position, d.text) for d in drafts(found)] == [
        ("a", 0, "a0"),
        ("b", 0, "b0"),
        ("a", 1, "a1"),
        ("chat", 0, "c0"),
    ]


def test_a_line_may_be_a_whole_conversation() -> None:
    found = lines(
        {"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]},
        {"id": "z", "messages": [{"role": "user", "content": "three"}]},
        {"messages": [{"role": "user", "content": "four"}]},
    )
    assert [(d.conversation, d.position) for d in drafts(found)] == [
        ("chat", 0),
        ("chat", 1),
        ("z", 0),
        ("chat-3", 0),
    ]


def test_a_bad_line_costs_only_itself() -> None:
    found = lines(
        b'\xef\xbb\xbf{"role": "user", "content": "one"}',
        b"",
        b'{"role": "user", "content": "\xff"}',
        b'{"role": "user", ',
        b"5",
        {"conversation_id": "a\0b", "content": "x"},
        {"role": "user", "content": "seven"},
    )
    assert [d.text for d in drafts(found)] == ["one", "seven"]
    assert [(e.position, e.code) for e in found if isinstance(e, ItemError)] == [
        (3, "invalid_encoding"),
        (4, "invalid_json"),
        (5, "invalid_item"),
        (6, "nul_character"),
    ]


def test_lines_are_read_one_by_one() -> None:
    """A file larger than memory yields its first drafts before its last line is there."""

    def endless() -> Iterable[bytes]:
        number = 0
        while True:
            number += 1
            yield f'{{"role": "user", "content": "line {number}"}}\n'.encode()

    found = read_jsonl(endless(), OPTIONS)
    assert [d.text for d, _ in zip(found, range(3), strict=False) if isinstance(d, Draft)] == [
        "line 1",
        "line 2",
        "line 3",
    ]


def test_errors_quote_nothing_of_what_was_said() -> None:
    secret = "the code is swordfish"
    found = [
        *read([{"role": "user", "content": [{"type": secret * 9}]}]),
        *lines(f'{{"content": "{secret}"'.encode(), {"content": secret, "time": "soon"}),
    ]
    messages = [one.message for one in found if isinstance(one, ItemError)]
    assert len(messages) == 3
    assert not [message for message in messages if "swordfish" in message]
