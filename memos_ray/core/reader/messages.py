"""One message of a dialogue, in the shapes that chat APIs and data sets use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import orjson

from memos_ray.core.cube.metadata import Attribute
from memos_ray.core.reader.decoding import normalise
from memos_ray.core.reader.draft import Role

TIME_KEYS = ("time", "timestamp", "created_at", "create_time", "created", "date", "datetime", "ts")
_TEXT_KEYS = ("content", "text", "value", "message")
_SPEAKER_KEYS = ("speaker", "name", "sender", "author")
_ITEM_KEYS = ("id", "message_id", "dia_id")
CONVERSATION_KEYS = ("conversation", "conversation_id", "thread_id", "chat_id")
SESSION_KEYS = ("session", "session_id")
_ROLES: Mapping[str, Role] = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
# Anything else in the place of a type may be what somebody said, which errors do not quote.
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,39}")
_AUDIO_TYPES = {"mp3": "mpeg"}


class UnreadableItemError(ValueError):
    """One item is not what it should be; `code` becomes that of its `ItemError`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message with its fields found, and its time still as written."""

    text: str
    speaker: str | None = None
    role: Role | None = None
    session: str | None = None
    item: str | None = None
    time: str | int | float | None = None
    tags: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def read_message(value: object) -> Message:
    """Finds the fields of a message.

    Raises:
        UnreadableItemError: it is no object, has no content, or a part of an unknown type.
    """
    if not isinstance(value, dict):
        raise UnreadableItemError("invalid_item", "a message is a JSON object")
    texts: list[str] = []
    attachments = list(_strings(value.get("attachments")))
    content = next((value[key] for key in _TEXT_KEYS if value.get(key) is not None), None)
    _read_content(content, texts, attachments)
    texts.extend(_calls(value))
    if isinstance(value.get("refusal"), str):
        texts.append(value["refusal"])
    text = clean("\n".join(text for text in texts if text.strip()))
    if not text and not attachments:
        raise UnreadableItemError("empty_item", "the message has no content")
    role, speaker = _who(value)
    return Message(
        text=text,
        speaker=speaker,
        role=role,
        session=first_name(value, SESSION_KEYS),
        item=first_name(value, _ITEM_KEYS),
        time=first_time(value),
        tags=tuple(_strings(value.get("tags"))),
        attachments=tuple(attachments),
        attributes=_attributes(value),
    )


def clean(text: str) -> str:
    """Strips and normalises a text.

    Raises:
        UnreadableItemError: it holds a NUL character, which the stores cannot keep.
    """
    if "\0" in text:
        raise UnreadableItemError("nul_character", "the text holds a NUL character")
    return normalise(text.strip())


def first_time(value: Mapping[str, object]) -> str | int | float | None:
    """Returns the first time field that is set.

    Raises:
        UnreadableItemError: the field is of another type than text or number.
    """
    for key in TIME_KEYS:
        found = value.get(key)
        if found is None or found == "":
            continue
        if isinstance(found, str | int | float) and not isinstance(found, bool):
            return found
        raise UnreadableItemError("invalid_time", f"`{key}` is neither text nor number")
    return None


def name_of(value: object) -> str | None:
    """Returns an id or a name as text; numbers count as names, anything else does not.

    Raises:
        UnreadableItemError: it holds a NUL character.
    """
    if isinstance(value, str):
        return clean(value) or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None


def first_name(value: Mapping[str, object], keys: Sequence[str]) -> str | None:
    """Returns the first of these fields that is a name; raises as `name_of` does."""
    return next((name for key in keys if (name := name_of(value.get(key))) is not None), None)


def scalars(value: Mapping[str, object]) -> dict[str, Attribute]:
    """Returns the fields that can be attributes.

    Raises:
        UnreadableItemError: a name or a text among them holds a NUL character.
    """
    return {
        clean(key): clean(field) if isinstance(field, str) else field
        for key, field in value.items()
        if isinstance(field, str | int | float | bool)
    }


def _strings(value: object) -> Sequence[str]:
    return [clean(v) for v in value if isinstance(v, str)] if isinstance(value, list) else []


def _who(value: Mapping[str, object]) -> tuple[Role | None, str | None]:
    speaker = first_name(value, _SPEAKER_KEYS)
    stated = name_of(value.get("role")) or name_of(value.get("from"))
    if stated is None:
        return None, speaker
    role = _ROLES.get(stated.lower())
    # Some exports put the name of the person where the role belongs.
    return role, speaker or (stated if role is None else None)


def _attributes(value: Mapping[str, object]) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        found.update(scalars(metadata))
    call = name_of(value.get("tool_call_id"))
    return found | ({"tool_call_id": call} if call else {})


def _read_content(content: object, texts: list[str], attachments: list[str]) -> None:
    if content is None:
        return
    if isinstance(content, str):
        texts.append(content)
        return
    if not isinstance(content, list):
        raise UnreadableItemError("invalid_content", "content is neither text nor a list of parts")
    for part in content:
        _read_part(part, texts, attachments)


def _read_part(part: object, texts: list[str], attachments: list[str]) -> None:
    if isinstance(part, str):
        texts.append(part)
        return
    if not isinstance(part, dict):
        raise UnreadableItemError("invalid_content", "a content part is an object")
    kind = part.get("type")
    reference = _reference(cast(str, kind), part)
    if reference is not None:
        attachments.append(reference)
    elif isinstance(part.get("text"), str):
        texts.append(part["text"])
    elif kind == "refusal" and isinstance(part.get("refusal"), str):
        texts.append(part["refusal"])
    elif kind == "tool_use":
        texts.append(_call(part.get("name"), part.get("input")))
    elif kind == "tool_result":
        _read_content(part.get("content"), texts, attachments)
    else:
        named = f": {kind}" if isinstance(kind, str) and _KIND.fullmatch(kind) else ""
        raise UnreadableItemError("unsupported_part", f"a content part of an unknown type{named}")


def _reference(kind: str, part: Mapping[str, object]) -> str | None:
    """Returns a URI for a part that is not text: its own, or a `data:` URI of inline content."""
    match kind:
        case "image_url" | "input_image":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            return _required(url or _file_id(part))
        case "image":
            source = part.get("source")
            source = source if isinstance(source, dict) else {}
            inline = source.get("data")
            if isinstance(inline, str):
                return f"data:{source.get('media_type') or 'image/png'};base64,{inline}"
            return _required(source.get("url"))
        case "input_audio":
            audio = part.get("input_audio")
            audio = audio if isinstance(audio, dict) else {}
            form = str(audio.get("format") or "wav")
            return (
                f"data:audio/{_AUDIO_TYPES.get(form, form)};base64,{_required(audio.get('data'))}"
            )
        case "file" | "input_file":
            nested = part.get("file")
            file = nested if isinstance(nested, dict) else part
            return _required(file.get("file_data") or file.get("file_url") or _file_id(file))
    return None


def _file_id(part: Mapping[str, object]) -> str | None:
    name = name_of(part.get("file_id"))
    return f"file-id:{name}" if name else None


def _required(reference: object) -> str:
    if not isinstance(reference, str) or not reference:
        raise UnreadableItemError("invalid_content", "an attachment without a reference")
    return reference


def _calls(value: Mapping[str, object]) -> list[str]:
    calls = value.get("tool_calls")
    found: list[str] = []
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise UnreadableItemError("invalid_content", "a tool call without a function")
        found.append(_call(function.get("name"), function.get("arguments")))
    legacy = value.get("function_call")
    if isinstance(legacy, dict):
        found.append(_call(legacy.get("name"), legacy.get("arguments")))
    return found


def _call(name: object, arguments: object) -> str:
    given = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
    return f"[calls {name_of(name) or 'a tool'} {given}]"
