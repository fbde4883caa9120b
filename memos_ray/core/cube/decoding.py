"""Decodes the bodies that this system's own stores hold, faster than `wire.from_json`.

A record store decodes a body for each memory it returns, and validation by schema would be most of
that work. Here only the shape is checked. Bytes from outside (an archive, an upload) go through
`wire.from_json`, which validates every field; on whatever `wire.to_json` wrote, both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import orjson

from memos_ray.core.cube.cube import Change, MemCube, ParentRef, State, VersionInfo
from memos_ray.core.cube.fingerprint import Fingerprint
from memos_ray.core.cube.metadata import (
    Arrangement,
    Decay,
    Descriptive,
    ExpiresAt,
    Forever,
    Governance,
    Lifespan,
    Origin,
    SemanticType,
    Setting,
    SourceRef,
    TimeSpan,
    Usage,
    Visibility,
)
from memos_ray.core.cube.payload import (
    ActivationRef,
    ArchivedRef,
    Attachment,
    Form,
    ParameterRef,
    Payload,
    Plaintext,
)
from memos_ray.errors import StoreCorruptError

_Member = TypeVar("_Member", bound=StrEnum)
_Json = dict[str, Any]


def _members(kind: type[_Member]) -> Mapping[str, _Member]:
    return {member.value: member for member in kind}


_ARRANGEMENTS = _members(Arrangement)
_CHANGES = _members(Change)
_ORIGINS = _members(Origin)
_SEMANTIC_TYPES = _members(SemanticType)
_STATES = _members(State)
_VISIBILITIES = _members(Visibility)
_FOREVER = Forever()
_NOWHERE = Setting()
_UNUSED = Usage()
# Values that nearly every memory has; one shared instance stands for all of them.
_NOWHERE_JSON = orjson.loads(orjson.dumps(_NOWHERE))
_UNUSED_JSON = orjson.loads(orjson.dumps(_UNUSED))

_time = datetime.fromisoformat


def decode(
    body: bytes, *, usage: Usage | None = None, sketch: str | None = None, lsn: int | None = None
) -> MemCube:
    """Rebuilds a cube from `wire.to_json`.

    Args:
        usage: replaces the indicators in the body, which are of the moment it was written.
        sketch: replaces the sketch in the body, which may be from before the memory was embedded.
        lsn: replaces the log position in the body.

    Raises:
        StoreCorruptError: when the bytes have not the shape of a cube.
    """
    try:
        flat = orjson.loads(body)
        mark = flat["fingerprint"]
        return MemCube(
            flat["id"],
            flat["provenance_id"],
            flat["tenant"],
            flat["namespace"],
            payload_of(flat["payload"]),
            descriptive_of(flat["descriptive"]),
            governance_of(flat["governance"]),
            _version(flat["version"], lsn),
            Fingerprint(mark["simhash"], mark["sketch"] if sketch is None else sketch),
            _STATES[flat["state"]],
            flat["frozen"],
            _usage(flat["usage"]) if usage is None else usage,
        )
    except (KeyError, TypeError, ValueError):
        # `from None`: the parser's message would quote the memory.
        raise StoreCorruptError("stored bytes are no cube") from None


def _optional_time(value: str | None) -> datetime | None:
    return None if value is None else _time(value)


def payload_of(flat: _Json) -> Payload:
    """Rebuilds a payload from its parsed JSON; raises `KeyError` and `ValueError` for others."""
    if "row" in flat:
        return ArchivedRef(flat["blob"], flat["row"], Form(flat["form"]))
    match flat["form"]:
        case "plaintext":
            attachments = flat["attachments"]
            return Plaintext(
                flat["text"],
                flat["language"],
                tuple(Attachment(**one) for one in attachments) if attachments else (),
            )
        case "activation":
            return ActivationRef(
                flat["digest"],
                flat["engine"],
                flat["tokens"],
                flat["size_bytes"],
                flat["adapter"],
            )
        case "parameter":
            return ParameterRef(
                flat["digest"], flat["base_model"], flat["rank"], flat["size_bytes"]
            )
        case _:
            raise ValueError("unknown form")


def descriptive_of(flat: _Json) -> Descriptive:
    """Rebuilds the descriptive part from its parsed JSON; raises `KeyError` and `ValueError`."""
    setting, mentions, sources = flat["setting"], flat["mentions"], flat["sources"]
    created = _time(flat["created_at"])
    return Descriptive(
        created,
        created if flat["updated_at"] == flat["created_at"] else _time(flat["updated_at"]),
        _ORIGINS[flat["origin"]],
        _SEMANTIC_TYPES[flat["semantic_type"]],
        _ARRANGEMENTS[flat["arrangement"]],
        tuple(flat["tags"]),
        _NOWHERE if setting == _NOWHERE_JSON else Setting(**setting),
        _optional_time(flat["event_time"]),
        _optional_time(flat["valid_from"]),
        _optional_time(flat["valid_to"]),
        tuple(TimeSpan(_time(one["start"]), _time(one["end"])) for one in mentions)
        if mentions
        else (),
        tuple(SourceRef(**one) for one in sources) if sources else (),
        flat["attributes"],
    )


def lifespan_of(flat: _Json) -> Lifespan:
    """Rebuilds a lifespan from its parsed JSON; raises `KeyError` and `ValueError` for others."""
    match flat["kind"]:
        case "forever":
            return _FOREVER
        case "expires_at":
            return ExpiresAt(_time(flat["at"]))
        case "decay":
            return Decay(flat["half_life_s"])
        case _:
            raise ValueError("unknown lifespan")


def governance_of(flat: _Json) -> Governance:
    """Rebuilds the governance from its parsed JSON; raises `KeyError` and `ValueError`."""
    return Governance(
        flat["owner"],
        _VISIBILITIES[flat["visibility"]],
        tuple(flat["readers"]),
        tuple(flat["writers"]),
        tuple(flat["sharers"]),
        lifespan_of(flat["lifespan"]),
        flat["priority"],
        tuple(flat["sensitivity"]),
        tuple(flat["compliance"]),
        flat["watermark"],
        flat["legal_hold"],
    )


def _version(flat: _Json, lsn: int | None) -> VersionInfo:
    parents = flat["parents"]
    return VersionInfo(
        flat["number"],
        flat["digest"],
        _CHANGES[flat["change"]],
        flat["author"],
        _time(flat["created_at"]),
        tuple(ParentRef(one["cube_id"], one["version"]) for one in parents) if parents else (),
        flat["reason"],
        flat["lsn"] if lsn is None else lsn,
    )


def _usage(flat: _Json) -> Usage:
    if flat == _UNUSED_JSON:
        return _UNUSED
    return Usage(
        flat["access_count"],
        _optional_time(flat["last_access_at"]),
        flat["frequency"],
        flat["cache_hits"],
        flat["usefulness"],
        tuple(flat["tasks"]),
        tuple(flat["agents"]),
    )
