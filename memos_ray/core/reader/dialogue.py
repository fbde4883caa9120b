"""Dialogues: OpenAI message lists, JSONL, the LoCoMo layout and the neutral layout.

The neutral layout is `{"conversations": [{"id", "turns": [{"id", "role", "speaker", "session",
"time", "text"}], "questions": [{"question", "answer", "category", "gold"}]}]}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeGuard

import orjson

from memos_ray.core.cube.metadata import SemanticType
from memos_ray.core.reader import locomo
from memos_ray.core.reader.decoding import decode
from memos_ray.core.reader.draft import Draft, ItemError
from memos_ray.core.reader.json_lines import json_lines
from memos_ray.core.reader.messages import (
    CONVERSATION_KEYS,
    SESSION_KEYS,
    Message,
    UnreadableItemError,
    first_name,
    first_time,
    name_of,
    read_message,
)
from memos_ray.core.reader.options import ReadOptions
from memos_ray.core.reader.times import resolve_times
from memos_ray.core.reader.timestamps import parse_timestamp
from memos_ray.errors import InvalidInputError, UnsupportedFormatError


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole dialogue as parsed: its id, its default time, and its turns as JSON values."""

    id: str | None
    time: object
    turns: tuple[object, ...]
    questions: tuple[object, ...] = ()


class _Drafter:
    """Makes drafts of the turns of one conversation, in order.

    A turn without a time has that of the turn before it in its session, else that of the session,
    else that of the conversation.
    """

    def __init__(self, options: ReadOptions, conversation: str | None) -> None:
        self._options = options
        self._conversation = conversation
        self._position = -1
        self._default = options.event_time
        self._times: dict[str | None, datetime] = {}

    def expect(self, conversation: Conversation) -> None:
        """Learns the times of conversation and sessions before the first turn is drafted.

        Times that cannot be read are reported where they stand, by the turn that has them.
        """
        self._default = self._readable(conversation.time) or self._default
        for turn in conversation.turns:
            if not isinstance(turn, dict):
                continue
            try:
                session = first_name(turn, SESSION_KEYS)
                moment = self._readable(first_time(turn))
            except UnreadableItemError:
                continue
            if moment is not None:
                self._times.setdefault(session, moment)

    def draft(self, value: object, place: int) -> Draft | ItemError:
        """Drafts the next turn; `place` is where an error is reported."""
        self._position += 1
        try:
            message = read_message(value)
        except UnreadableItemError as error:
            return ItemError(place, error.code, str(error))
        if message.time is None:
            moment = self._times.get(message.session, self._default)
        else:
            try:
                moment = parse_timestamp(message.time, self._options.tz)
            except ValueError as error:
                return ItemError(place, "invalid_time", str(error))
            self._times[message.session] = moment
        return self._drafted(message, moment)

    def _readable(self, time: object) -> datetime | None:
        try:
            return None if time is None else parse_timestamp(time, self._options.tz)
        except ValueError:
            return None

    def _drafted(self, message: Message, moment: datetime | None) -> Draft:
        options = self._options
        return Draft(
            text=message.text,
            semantic_type=SemanticType.EPISODE,
            speaker=message.speaker,
            role=message.role,
            conversation=self._conversation,
            session=message.session,
            position=self._position,
            event_time=moment,
            mentions=resolve_times(message.text, moment, tz=options.tz, language=options.language),
            tags=message.tags,
            source_uri=options.source_uri,
            source_item=message.item,
            attachments=message.attachments,
            attributes=message.attributes,
        )


def read_json(data: bytes, options: ReadOptions) -> Iterator[Draft | ItemError]:
    """Reads a JSON file in any of the dialogue layouts, told apart by their structure.

    Raises:
        InvalidInputError: not JSON, not UTF-8, or empty; raised before the first item.
        UnsupportedFormatError: JSON, but no dialogue.
    """
    conversations = parse_conversations(data)
    return _read_conversations(conversations, options)


def _read_conversations(
    conversations: Iterable[Conversation], options: ReadOptions
) -> Iterator[Draft | ItemError]:
    place = 0
    for number, conversation in enumerate(conversations, 1):
        drafter = _Drafter(options, conversation.id or _fallback_id(options, number))
        drafter.expect(conversation)
        for turn in conversation.turns:
            place += 1
            yield drafter.draft(turn, place)


def _fallback_id(options: ReadOptions, number: int) -> str | None:
    if number == 1:
        return options.conversation
    return f"{options.conversation or 'conversation'}-{number}"


def parse_conversations(data: bytes) -> tuple[Conversation, ...]:
    """Parses a JSON file of dialogues; see `read_json` for what it raises."""
    text = decode(data)
    if not text.strip():
        raise InvalidInputError("the input is empty", reason="empty")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(
            f"the input is not valid JSON: {error.msg}", reason="invalid_json", character=error.pos
        ) from None
    try:
        found = _conversations_of(value)
    except UnreadableItemError as error:
        raise InvalidInputError(str(error), reason=error.code) from None
    if found is None:
        raise UnsupportedFormatError(
            "the JSON is no dialogue: expected a list of messages, an object with `messages`,"
            " `turns` or `conversations`, or the LoCoMo layout"
        )
    return found


def _conversations_of(value: object) -> tuple[Conversation, ...] | None:
    if isinstance(value, dict) and isinstance(value.get("conversations"), list):
        value = value["conversations"]
    if isinstance(value, list):
        if value and all(_is_conversation(item) for item in value):
            return tuple(_conversation_of(item) for item in value)
        if not value or any(_is_message(item) for item in value):
            return (Conversation(None, None, tuple(value)),)
        return None
    return (_conversation_of(value),) if _is_conversation(value) else None


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and not {
        "role",
        "speaker",
        "from",
        "content",
        "text",
    }.isdisjoint(value)


def _is_conversation(value: object) -> TypeGuard[dict[str, object]]:
    return locomo.is_sample(value) or (
        isinstance(value, dict)
        and (isinstance(value.get("messages"), list) or isinstance(value.get("turns"), list))
    )


def _conversation_of(value: dict[str, object]) -> Conversation:
    inner = value.get("conversation")
    if isinstance(inner, dict):
        qa = value.get("qa")
        turns = tuple(locomo.turns(inner))
        questions = tuple(qa) if isinstance(qa, list) else ()
        return Conversation(name_of(value.get("sample_id")), None, turns, questions)
    listed = value.get("turns", value.get("messages"))
    asked = value.get("questions")
    return Conversation(
        first_name(value, ("id", "conversation_id")),
        first_time(value),
        tuple(listed) if isinstance(listed, list) else (),
        tuple(asked) if isinstance(asked, list) else (),
    )


def read_jsonl(lines: Iterable[bytes], options: ReadOptions) -> Iterator[Draft | ItemError]:
    """Reads JSONL lazily: each line is one message, or one whole conversation.

    A line that cannot be read is one error, whose position is its number; the rest goes on.
    """
    drafters: dict[str | None, _Drafter] = {}
    whole = 0
    for number, value in json_lines(lines):
        if isinstance(value, ItemError):
            yield value
            continue
        whole += _is_conversation(value)
        try:
            yield from _line(value, number, whole, options, drafters)
        except UnreadableItemError as error:
            yield ItemError(number, error.code, str(error))


def _line(
    value: object,
    number: int,
    whole: int,
    options: ReadOptions,
    drafters: dict[str | None, _Drafter],
) -> Iterator[Draft | ItemError]:
    if _is_conversation(value):
        conversation = _conversation_of(value)
        drafter = _Drafter(options, conversation.id or _fallback_id(options, whole))
        drafter.expect(conversation)
        for turn in conversation.turns:
            yield drafter.draft(turn, number)
        return
    stated = first_name(value, CONVERSATION_KEYS) if isinstance(value, dict) else None
    identity = stated or options.conversation
    if identity not in drafters:
        drafters[identity] = _Drafter(options, identity)
    yield drafters[identity].draft(value, number)
