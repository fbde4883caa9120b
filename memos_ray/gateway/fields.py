"""Fields of the public data model, and the base of its models.

Pydantic models, frozen and closed: an unknown field is an error, never ignored.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from memos_ray.core.access import names

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt _]")
_MEMORY_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
_NAMESPACE = f"^{names.NAMESPACE}$"
_SUBJECT = f"^{names.SUBJECT}$"
_PRINCIPAL = f"^{names.PRINCIPAL}$"
_KEY = r"^[\x20-\x7e]+$"

FORMS = {
    _MEMORY_ID: "1 to 128 letters, digits and . _ : - that begin with a letter or digit",
    _NAMESPACE: "a namespace, such as user:ana, user:ana/notes or team",
    _SUBJECT: "a subject, such as user:ana, agent:planner or role:reader",
    _PRINCIPAL: "a principal, such as user:ana, agent:planner or service:sync",
    _KEY: "printable ASCII",
}
"""What patterns of fields ask for, in words."""

ONE, MANY = "one", "many"
"""The tags of the two bodies that storing memories takes."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def printable(text: str) -> str:
    """Lets a text pass that has no control characters."""
    if _CONTROL.search(text):
        raise ValueError("control characters and lone surrogates are not allowed")
    return text


def _saying(text: str) -> str:
    if text.isspace():
        raise ValueError("must say something, not only blanks")
    return text


def _finite(value: str | int | float | bool) -> str | int | float | bool:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("must fit in 64 bits")
    return value


def _written_as_time(value: object) -> object:
    # A bare number would pass for seconds since 1970, and "2023" for half an hour after it.
    if isinstance(value, datetime) or (isinstance(value, str) and _TIMESTAMP.match(value)):
        return value
    raise ValueError("must be a date and time with an offset, as 2023-05-01T10:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie in the years 1 to 9999, in UTC") from None


Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(printable)]
Saying = Annotated[Text, AfterValidator(_saying)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(printable)]
Reason = Annotated[str, StringConstraints(max_length=1024), AfterValidator(printable)]
Uri = Annotated[str, StringConstraints(max_length=8192), AfterValidator(printable)]
MemoryId = Annotated[str, StringConstraints(pattern=_MEMORY_ID)]
NamespaceName = Annotated[
    str, StringConstraints(max_length=names.NAMESPACE_MAX, pattern=_NAMESPACE)
]
Subject = Annotated[str, StringConstraints(pattern=_SUBJECT)]
PrincipalId = Annotated[str, StringConstraints(pattern=_PRINCIPAL)]
Version = Annotated[int, Field(ge=1, lt=2**31)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written_as_time), AfterValidator(_in_utc)]
AttributeName = Name
AttributeValue = Annotated[
    bool | int | float | Annotated[str, StringConstraints(max_length=4096)],
    AfterValidator(_finite),
]
# What may travel in an HTTP header: printable ASCII.
Key = Annotated[str, StringConstraints(max_length=256, pattern=_KEY)]
Label = Key
Credential = Annotated[str, StringConstraints(max_length=16_384, pattern=_KEY)]

# Of a list that is given as a default, Pydantic makes a deep copy for each model, which takes five
# times as long as making an empty one, and most of the time that a new memory's check takes.
NO_ITEMS: Any = Field(default_factory=list, json_schema_extra={"default": []})
"""The default of a field: an empty list."""
NO_ENTRIES: Any = Field(default_factory=dict, json_schema_extra={"default": {}})
"""The default of a field: an empty dictionary."""


class Model(BaseModel):
    """Base of the public models."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")
