"""Options that several commands have, and how what people type becomes a value."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from memos_ray.core.cube.metadata import SemanticType, Visibility
from memos_ray.core.vault.operations import Clearable
from memos_ray.errors import InvalidInputError

_STDIN = "-"
_DAY_S = 86_400.0


def moment(text: str) -> datetime:
    """Reads a date or time in ISO 8601; UTC unless it names another zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no ISO 8601 date or time, such as 2023-05-01 or 2023-05-01T10:00+02:00"
        ) from None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def moment_option(flag: str, help: str) -> Any:
    """Makes an option that takes a date or time."""
    return typer.Option(flag, parser=moment, metavar="WHEN", help=help)


def text_of(argument: str) -> str:
    """Returns a text, from standard input when it is `-`.

    Raises:
        InvalidInputError: standard input is not UTF-8.
    """
    if argument != _STDIN:
        return argument
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError("standard input is not UTF-8", position=error.start) from None


def attributes_of(pairs: list[str] | None) -> dict[str, str | int | float | bool] | None:
    """Reads `name=value` pairs; a value that is a JSON number or boolean becomes one.

    Raises:
        InvalidInputError: a pair without `=`.
    """
    if not pairs:
        return None
    import orjson

    found: dict[str, str | int | float | bool] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidInputError("an attribute is given as name=value", field="attribute")
        try:
            read = orjson.loads(value)
        except orjson.JSONDecodeError:
            read = value
        found[name] = read if isinstance(read, int | float | bool) else value
    return found


def seconds_of(days: float | None) -> float | None:
    """Returns how many seconds days are."""
    return None if days is None else days * _DAY_S


def given(**fields: Any) -> dict[str, Any]:
    """Keeps the fields that a command was given, so that the others keep their defaults."""
    return {name: value for name, value in fields.items() if value is not None}


def cleared(wanted: list[Clearable] | None, fields: dict[str, Any]) -> dict[str, None]:
    """Returns the fields that are to be cleared, which is told by nothing as their value.

    Raises:
        InvalidInputError: one of them is given a value as well.
    """
    for name in wanted or ():
        if name in fields:
            raise InvalidInputError("it is given, and to be cleared", field=name.value)
    return {name.value: None for name in wanted or ()}


MemoryArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the memory.")]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace; your own home when absent.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why, for the history.")]
ExpectedOption = Annotated[
    int | None,
    typer.Option("--expected-version", min=1, help="Refuse if the memory is at another version."),
]
IdempotencyOption = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Names the write, so that repeating it does nothing."),
]
TagsOption = Annotated[list[str] | None, typer.Option("--tag", "-t", help="Tag; may be repeated.")]
AttributesOption = Annotated[
    list[str] | None,
    typer.Option("--attribute", metavar="NAME=VALUE", help="Attribute; may be repeated."),
]
TypeOption = Annotated[
    SemanticType | None, typer.Option("--type", help="What kind of thing it says.")
]
VisibilityOption = Annotated[
    Visibility | None,
    typer.Option("--visibility", help="Who may read it; as the namespace says when absent."),
]
ReadersOption = Annotated[
    list[str] | None,
    typer.Option("--reader", help="Who may read it, as user:… or agent:…; repeatable."),
]
WritersOption = Annotated[
    list[str] | None, typer.Option("--writer", help="Who may also change it; repeatable.")
]
SharersOption = Annotated[
    list[str] | None, typer.Option("--sharer", help="Who may also share it; repeatable.")
]
EventTimeOption = Annotated[
    datetime | None, moment_option("--event-time", "When it was said or happened.")
]
ValidFromOption = Annotated[datetime | None, moment_option("--valid-from", "From when it holds.")]
ValidToOption = Annotated[datetime | None, moment_option("--valid-to", "Until when it holds.")]
ExpiresOption = Annotated[
    datetime | None, moment_option("--expires-at", "When it is to be forgotten.")
]
ClearOption = Annotated[
    list[Clearable] | None,
    typer.Option("--clear", help="What it is to have no longer; may be repeated."),
]
PriorityOption = Annotated[
    int | None, typer.Option("--priority", min=-100, max=100, help="Weight among equals.")
]
HalfLifeOption = Annotated[
    float | None,
    typer.Option("--half-life-days", help="It cools down by half in, and is then put away."),
]
SensitivityOption = Annotated[
    list[str] | None, typer.Option("--sensitivity", help="Label for policies; may be repeated.")
]
ComplianceOption = Annotated[
    list[str] | None, typer.Option("--compliance", help="Label for policies; may be repeated.")
]
CursorOption = Annotated[
    str | None, typer.Option("--cursor", help="Where the page before has ended.")
]
LimitOption = Annotated[int, typer.Option("--limit", "-l", min=1, max=1000, help="Most results.")]
