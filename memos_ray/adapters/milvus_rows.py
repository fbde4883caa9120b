"""How a record lies in Milvus: columns, encodings and limits.

Milvus engines disagree about missing values, quoting and numbers, so nothing of that is left to
them. Every column always holds a value, absence included, which makes every comparison two-valued.
Text goes in as a *token* without quotes, backslashes, braces or control characters, so that no
value can end a literal in an expression; whatever does not fit is replaced by its digest, which
keeps equality. The caller's own attributes become tokens of one set, `terms`, because engines
compare JSON values of mixed types in different ways.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, FIELDS, Facets, FacetValue, Kind
from memos_ray.core.vault.log import CubeKey
from memos_ray.errors import InvalidInputError
from memos_ray.ports import VectorRecord

LAYOUT = 1
"""Part of every collection name; a change of the columns makes new collections."""

KEY = "pk"
CUBE = "cube"
TENANT = "tenant"
SCOPE = "scope"
PARTITION = "vault_partition"
STAMP = "stamp"
VERSION = "version"
TERMS = "terms"
NUMBERS = "numbers"
FACETS = "facets"
VECTOR = "embedding"

ABSENT = -(2**63) + 1
LOWEST = ABSENT + 1
HIGHEST = 2**63 - 1
NO_TEXT = ""
NO_SCOPE = ""
PRESENT = "."

TEXT_LIMIT_BYTES = 65_535
TOKEN_LIMIT_BYTES = 255
SET_LIMIT = 4_096
LITE_SET_LIMIT = 2_400
_FORBIDDEN = frozenset("\"'\\{}")


class Dialect(StrEnum):
    """Which engine the rows and expressions are for.

    Milvus Lite evaluates array functions row by row in Python, 15 times slower than a substring
    match on text, so sets are text there and arrays on a server.
    """

    LITE = "lite"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Row:
    """One encoded record.

    Attributes:
        key: primary key; names the cube in its partition.
        cells: value by column, the vector included.
    """

    key: str
    partition: int
    cells: dict[str, Any]


def column(field: str) -> str:
    """Returns the column of a built-in facet."""
    return f"f_{field}"


def _hash(*parts: str, size: int = 16) -> str:
    state = blake2b(digest_size=size)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()


def row_key(partition: int, key: CubeKey) -> str:
    """Returns the primary key of a cube in a partition: 32 hex digits."""
    return _hash(str(partition), key.tenant, key.id)


def scope(partition: int, tenant: str, namespace: str) -> str:
    """Returns the value that one namespace of one partition shares: 32 hex digits."""
    return _hash(str(partition), tenant, namespace)


def text_token(value: str) -> str:
    """Encodes text so that equal texts, and only they, give equal tokens."""
    if (
        value.isprintable()
        and _FORBIDDEN.isdisjoint(value)
        and len(value.encode()) <= TOKEN_LIMIT_BYTES
    ):
        return f"={value}"
    return f"#{_hash(value)}"


def flag_token(value: bool) -> str:
    """Encodes a flag; the empty token stands for its absence."""
    return "=true" if value else "=false"


def member_token(value: str, dialect: Dialect) -> str:
    """Encodes a member of a set; on Lite without the wildcards of `like`."""
    return _hash(value, size=12) if dialect is Dialect.LITE else text_token(value)


def set_cell(tokens: Iterable[str], dialect: Dialect) -> Any:
    """Encodes a set of tokens; nothing at all when the facet is absent."""
    held = list(tokens)
    if dialect is Dialect.SERVER:
        return held
    return f"|{'|'.join(held)}|" if held else NO_TEXT


def number_key(name: str) -> str:
    """Returns the JSON key under which a numeric attribute lies."""
    return f"n{_hash(name, size=8)}"


def present_term(name: str, dialect: Dialect) -> str:
    """Returns the term of every attribute of this name."""
    return _term(dialect, "present", name)


def number_term(name: str, dialect: Dialect) -> str:
    """Returns the term of an attribute whose number lies in the JSON column."""
    return _term(dialect, "number", name)


def beyond_term(name: str, positive: bool, dialect: Dialect) -> str:
    """Returns the term of a number that no engine can hold: infinite or over 64 bits."""
    return _term(dialect, "above" if positive else "below", name)


def value_term(name: str, value: str | int | float | bool, dialect: Dialect) -> str | None:
    """Returns the term of an attribute with this value; none for NaN, which equals nothing."""
    match value:
        case bool():
            return _term(dialect, "flag", name, str(value))
        case str():
            return _term(dialect, "text", name, value)
        case float() if math.isnan(value):
            return None
        case float() if value.is_integer():
            return _term(dialect, "value", name, str(int(value)))
        case _:
            return _term(dialect, "value", name, repr(value))


def _term(dialect: Dialect, *parts: str) -> str:
    return _hash(*parts, size=12 if dialect is Dialect.LITE else 16)


def encode(record: VectorRecord, dialect: Dialect) -> Row:
    """Turns a record into cells.

    Raises:
        InvalidInputError: when a facet is of the wrong type or too large to be stored.
    """
    key = row_key(record.partition, record.key)
    cells: dict[str, Any] = {
        KEY: key,
        CUBE: json.dumps(record.key.id),
        TENANT: text_token(record.key.tenant),
        # A vector of length zero has no direction: engines disagree on how near it is.
        SCOPE: scope(record.partition, record.key.tenant, record.namespace)
        if record.vector.any()
        else NO_SCOPE,
        PARTITION: record.partition,
        VERSION: record.version,
        VECTOR: record.vector,
    }
    try:
        for field, kind in FIELDS.items():
            cells[column(field)] = _facet_cell(kind, record.facets.get(field), dialect)
        terms, numbers = _attributes(record.facets, dialect)
        cells[TERMS] = set_cell(_bounded(terms, dialect), dialect)
        cells[NUMBERS] = numbers
        cells[FACETS] = _bounded_text(pack_facets(record.facets))
        _bounded_text(cells[CUBE])
    except _UnfitError as error:
        raise InvalidInputError(
            f"the facets of a memory do not fit the vector store: {error}",
            tenant=record.key.tenant,
            cube_id=record.key.id,
        ) from error
    return Row(key, record.partition, cells)


class _UnfitError(ValueError):
    """A facet that the columns cannot hold."""


def _bounded(tokens: Sequence[str], dialect: Dialect) -> Sequence[str]:
    limit = LITE_SET_LIMIT if dialect is Dialect.LITE else SET_LIMIT
    if len(tokens) > limit:
        raise _UnfitError(f"{len(tokens)} values in a set, {limit} at most")
    return tokens


def _bounded_text(text: str) -> str:
    if len(text) > TEXT_LIMIT_BYTES:
        raise _UnfitError(f"{len(text)} bytes of facets, {TEXT_LIMIT_BYTES} at most")
    return text


def _facet_cell(kind: Kind, value: FacetValue | None, dialect: Dialect) -> Any:
    match kind, value:
        case Kind.TEXT, str():
            return text_token(value)
        case Kind.FLAG, bool():
            return flag_token(value)
        case Kind.TEXT | Kind.FLAG, None:
            return NO_TEXT
        case Kind.INTEGER | Kind.TIME, None:
            return ABSENT
        case Kind.INTEGER | Kind.TIME, int() if not isinstance(value, bool):
            if LOWEST <= value <= HIGHEST:
                return value
            raise _UnfitError("an integer beyond 64 bits")
        case Kind.SET, tuple():
            members = [PRESENT, *(member_token(member, dialect) for member in value)]
            return set_cell(_bounded(members, dialect), dialect)
        case Kind.SET, None:
            return set_cell((), dialect)
        case _:
            raise _UnfitError(f"a {type(value).__name__} where {kind.value} belongs")


def _attributes(facets: Facets, dialect: Dialect) -> tuple[list[str], dict[str, int | float]]:
    terms: list[str] = []
    numbers: dict[str, int | float] = {}
    for field, value in facets.items():
        if not field.startswith(ATTRIBUTE_PREFIX):
            continue
        if isinstance(value, tuple):
            raise _UnfitError("an attribute that is a list")
        name = field.removeprefix(ATTRIBUTE_PREFIX)
        terms.append(present_term(name, dialect))
        term = value_term(name, value, dialect)
        if term is None:
            continue
        terms.append(term)
        if isinstance(value, bool | str):
            continue
        if math.isinf(value) or (isinstance(value, int) and not LOWEST <= value <= HIGHEST):
            terms.append(beyond_term(name, value > 0, dialect))
        else:
            terms.append(number_term(name, dialect))
            numbers[number_key(name)] = value
    return terms, numbers


def pack_facets(facets: Facets) -> str:
    """Writes facets as ASCII JSON; lossless, infinities and lone surrogates included."""
    return json.dumps(dict(facets), separators=(",", ":"))


def unpack_facets(text: str) -> dict[str, FacetValue]:
    """Reads what `pack_facets` wrote."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in json.loads(text).items()
    }
