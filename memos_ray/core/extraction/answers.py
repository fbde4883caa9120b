"""What a model may answer: strictly read, item by item, so that one bad item spoils no other."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic import ValidationError as _ValidationError

TEXT_MAX = 1000
NAME_MAX = 200
SOURCES_MAX = 32


class Kind(StrEnum):
    """What an item of an answer is."""

    FACT = "fact"
    PREFERENCE = "preference"
    EPISODE = "episode"
    ENTITY = "entity"
    RELATION = "relation"


class Objection(StrEnum):
    """Why an item, or a whole answer, is not taken."""

    FORM = "form"
    """It is not of the schema."""
    SOURCE = "source"
    """It names no turn, one that is not there, or background alone."""
    TIME = "time"
    """Its time is not one that its turns speak of."""
    SUPPORT = "support"
    """Its words are not those of its turns."""
    REPEATED = "repeated"
    """It is there already."""
    TOO_MANY = "too_many"
    """There were enough before it."""


def _day(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, str) or not 10 <= len(value) <= 32:
        raise ValueError("no date")
    if len(value) == 10:
        found = date.fromisoformat(value)
        return datetime(found.year, found.month, found.day, tzinfo=UTC)
    moment = datetime.fromisoformat(value)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("no date") from None


_Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_MAX, strict=True)
]
_Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_MAX, strict=True)
]
_Moment = Annotated[datetime, BeforeValidator(_day)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SaidTime(_Strict):
    """When something happened, or since when it holds: `start <= t < end`, aware UTC."""

    start: _Moment
    end: _Moment | None = None

    @property
    def until(self) -> datetime:
        """The end; a day after the start when none was given."""
        if self.end is not None:
            return self.end
        try:
            return self.start + timedelta(days=1)
        except OverflowError:
            return self.start


class Item(_Strict):
    """Something to remember, as a model put it."""

    kind: Kind
    text: _Text
    subject: _Name | None = None
    predicate: _Name | None = None
    object: _Name | None = None
    time: SaidTime | None = None
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    sources: Annotated[tuple[_Name, ...], Field(min_length=1, max_length=SOURCES_MAX)]

    @property
    def complete(self) -> bool:
        """Whether it has what its kind needs."""
        parts = (self.subject, self.predicate, self.object)
        return self.kind not in (Kind.ENTITY, Kind.RELATION) or None not in parts


def items_of(text: str) -> list[Item | None] | None:
    """Reads an answer.

    Returns:
        Its items in order, nothing in the place of one that is not of the schema; or nothing at
        all, when the answer is not.
    """
    try:
        held: Any = orjson.loads(_unfenced(text))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(held, dict) or set(held) != {"memories"}:
        return None
    said = held["memories"]
    return [_item(one) for one in said] if isinstance(said, list) else None


def _item(said: Any) -> Item | None:
    try:
        item = Item.model_validate(said)
    except _ValidationError:
        return None
    parts = (item.text, item.subject or "", item.predicate or "", item.object or "")
    return item if item.complete and all(map(_plain, parts)) else None


def _plain(text: str) -> bool:
    return all(letter == "\n" or letter == "\t" or letter >= " " for letter in text)


def _unfenced(text: str) -> str:
    """Takes off a fence of Markdown, which models put around JSON against all requests."""
    plain = text.strip()
    if plain.startswith("```") and plain.endswith("```"):
        return plain.removesuffix("```").partition("\n")[2]
    return plain
