"""What every record store can hold, and what none of them accepts.

The text of a memory may hold any character. Everything that is a column in a store (names, tags,
subjects, attributes, reasons) must be free of NUL, which PostgreSQL cannot hold; keys must be short
enough for an index entry; numbers must be finite and fit 64 bits. A store refuses a whole commit for
one such field, so check each cube and log entry before it joins a commit with others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, Facets, FacetValue, facets_of
from memos_ray.core.cube.metadata import Decay
from memos_ray.core.vault.log import Event
from memos_ray.errors import InvalidInputError

NAME_MAX_BYTES = 512
"""UTF-8 length of keys: tenants, ids, namespaces, names of attributes, idempotency keys, …."""

_MIN, _MAX = -(2**63), 2**63 - 1


def check_cube(cube: MemCube, facets: Facets | None = None) -> None:
    """Verifies that every store can hold a cube.

    Args:
        facets: `facets_of(cube)`, when the caller has it.

    Raises:
        InvalidInputError: names the field that no store holds.
    """
    flat = facets_of(cube) if facets is None else facets
    check_names(tenant=cube.tenant, id=cube.id, namespace=cube.namespace)
    check_texts(
        author=cube.version.author,
        reason=cube.version.reason,
        **{f"parent[{i}]": parent.cube_id for i, parent in enumerate(cube.version.parents)},
    )
    check_names(**{ATTRIBUTE_PREFIX + name: name for name in cube.descriptive.attributes})
    # One look at all texts together; only a finding is worth naming the field.
    if not _plain("\1".join(_strings(flat.values()))):
        for name, value in flat.items():
            check_texts(**{name: "\1".join(_strings((value,)))})
    for name, value in flat.items():
        _check_number(name, value)
    lifespan = cube.governance.lifespan
    if isinstance(lifespan, Decay):
        _check_number("half_life_s", lifespan.half_life_s)
    try:
        cube.text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("text that UTF-8 cannot carry", field="text") from None


def check_event(event: Event) -> None:
    """Verifies that every store can hold a log entry.

    Raises:
        InvalidInputError: names the field that no store holds.
    """
    texts = (
        event.tenant,
        event.namespace,
        event.principal,
        event.operation,
        event.cube_id or "",
        event.purpose or "",
        event.role or "",
        event.application or "",
        event.credential,
        event.request_id,
    )
    if not _plain("\1".join(texts)):
        raise InvalidInputError("a log entry holds NUL or is no UTF-8", operation=event.operation)
    check_names(
        tenant=event.tenant,
        namespace=event.namespace,
        cube_id=event.cube_id or "",
        request_id=event.request_id,
    )


def check_names(**names: str) -> None:
    """Verifies keys by field name: at most `NAME_MAX_BYTES` bytes, no NUL, no lone surrogates.

    Raises:
        InvalidInputError: names the first field that no store holds as a key.
    """
    check_texts(**names)
    for field, name in names.items():
        # UTF-8 takes at most four bytes a character: most names need no closer look.
        if len(name) * 4 > NAME_MAX_BYTES and len(name.encode()) > NAME_MAX_BYTES:
            raise InvalidInputError("a name is too long", field=field, max_bytes=NAME_MAX_BYTES)


def check_texts(**texts: str | None) -> None:
    """Verifies texts by field name: no NUL, no lone surrogates.

    Raises:
        InvalidInputError: names the first field that no store holds.
    """
    for field, text in texts.items():
        if text is not None and not _plain(text):
            raise InvalidInputError("a text holds NUL or is no UTF-8", field=field)


def _plain(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _strings(values: Iterable[FacetValue]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from value


def _check_number(field: str, value: FacetValue) -> None:
    if isinstance(value, int):
        if not _MIN <= value <= _MAX:
            raise InvalidInputError("a number does not fit 64 bits", field=field)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInputError("a number is not finite", field=field)
