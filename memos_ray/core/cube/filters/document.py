"""Reads the JSON spelling of a filter, strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memos_ray.core.cube.filters.syntax import (
    TEXT_CHARS_MAX,
    VALUES_MAX,
    Comparison,
    Connective,
    Literal,
    Negation,
    Op,
    Place,
    Syntax,
    check_depth,
)
from memos_ray.errors import InvalidFilterError

_COMPARISON = {"field", "op", "value"}
_LISTS = {Op.IN, Op.ANY, Op.ALL, Op.BETWEEN}
_SHOWN = 40


def read_document(document: Mapping[str, object]) -> Syntax:
    """Reads a decoded JSON object.

    Raises:
        InvalidFilterError: it is no filter or nests too deeply.
    """
    return _node(document, "", 0)


def _node(document: object, path: str, depth: int) -> Syntax:
    check_depth(depth, {"path": path})
    if not isinstance(document, Mapping):
        raise _wrong("an object", document, path)
    keys = set(document)
    if keys == {"not"}:
        return Negation(_node(document["not"], f"{path}/not", depth + 1))
    if keys in ({"and"}, {"or"}):
        key = "and" if "and" in keys else "or"
        parts = _list(document[key], f"{path}/{key}")
        return Connective(
            key == "and",
            tuple(_node(part, f"{path}/{key}/{i}", depth + 1) for i, part in enumerate(parts)),
        )
    if keys != _COMPARISON:
        raise InvalidFilterError(
            "an object of a filter has the one key `and`, `or` or `not`, "
            "or the keys `field`, `op` and `value`",
            path=path,
            keys=sorted(str(key)[:_SHOWN] for key in document)[:8],
        )
    return _comparison(document, path)


def _comparison(document: Mapping[object, object], path: str) -> Comparison:
    name, op_name, value = document["field"], document["op"], document["value"]
    if not isinstance(name, str):
        raise _wrong("a text", name, f"{path}/field")
    if not isinstance(op_name, str) or op_name not in set(Op):
        raise InvalidFilterError(
            f"`op` is one of {', '.join(Op)}", path=f"{path}/op", found=str(op_name)[:_SHOWN]
        )
    op, place = Op(op_name), f"{path}/value"
    if op not in _LISTS:
        return Comparison(name, op, (_scalar(value, place, False),), {"path": path})
    values = _list(value, place)
    ranged = op is Op.BETWEEN
    if ranged and len(values) != 2:
        raise InvalidFilterError("`between` takes a list of two values", path=place)
    literals = tuple(_scalar(item, f"{place}/{i}", ranged) for i, item in enumerate(values))
    return Comparison(name, op, literals, {"path": path})


def _list(value: object, path: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise _wrong("a list", value, path)
    if len(value) > VALUES_MAX:
        raise InvalidFilterError(f"a list of more than {VALUES_MAX} items", path=path)
    return value


def _scalar(value: object, path: str, nullable: bool) -> Literal:
    if value is None and nullable:
        return None
    if not isinstance(value, str | int | float):
        raise _wrong("a text, a number, true or false", value, path)
    if isinstance(value, str) and len(value) > TEXT_CHARS_MAX:
        raise InvalidFilterError(f"a text of more than {TEXT_CHARS_MAX} characters", path=path)
    return value


def _wrong(wanted: str, found: object, path: str) -> InvalidFilterError:
    match found:
        case None:
            name = "null"
        case str():
            name = "a text"
        case Mapping():
            name = "an object"
        case list() | tuple():
            name = "a list"
        case _:
            name = "a number, true or false"
    place: Place = {"path": path}
    return InvalidFilterError(f"{wanted} is expected here, not {name}", **place)
