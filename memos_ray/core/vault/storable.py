"""What every record store can hold, and what none of them accepts.

The text of a memory may hold any character. Everything that is a column in a store (names, tags,
subjects, attributes, reasons) must be free of NUL, which PostgreSQL cannot hold; keys must be short
enough for an index entry; numbers must be finite and fit 64 bits. A store refuses a whole commit
for one such field, so check each cube and log entry before it joins a commit with others.
"""

from __future__ import annotations

import math

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import ATTRIBUTE_PREFIX, Facets, FacetValue, facets_of
from memos_ray.core.cube.metadata import Decay
from memos_ray.core.vault.log import Event
from memos_ray.errors import InvalidInputError

NAME_MAX_BYTES = 512
"""UTF-8 length of keys: tenants, ids, namespaces, conversations, names of attributes, ….

Conversations are among them because they are indexed.
"""

# UTF-8 takes at most four bytes a character, so that most names need no closer look.
_SURELY_SHORT = NAME_MAX_BYTES // 4
_MIN, _MAX = -(2**63), 2**63 - 1


def check_cube(cube: MemCube, facets: Facets | None = None) -> None:
    """Verifies that every store can hold a cube.

    Args:
        facets: `facets_of(cube)`, when the caller has it.

    Raises:
        InvalidInputError: names the field that no store holds.
    """
    flat = facets_of(cube) if facets is None else facets
    about, info = cube.descriptive, cube.version
    conversation = about.setting.conversation or ""
    keys = (cube.tenant, cube.id, cube.namespace, conversation, *about.attributes)
    texts = [*keys, info.author, info.reason or ""]
    texts += [parent.cube_id for parent in info.parents]
    for field, value in flat.items():
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, tuple):
            texts.extend(value)
        else:
            _check_number(field, value)
    # One look at all texts together; only a finding is worth naming the field.
    if not _plain("\1".join(texts)):
        _name_text(cube, flat)
    if max(map(len, keys)) > _SURELY_SHORT:
        check_names(
            tenant=cube.tenant,
            id=cube.id,
            namespace=cube.namespace,
            conversation=conversation,
        )
        check_names(**{ATTRIBUTE_PREFIX + name: name for name in about.attributes})
    if isinstance(cube.governance.lifespan, Decay):
        _check_number("half_life_s", cube.governance.lifespan.half_life_s)
    try:
        cube.text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("text that UTF-8 cannot carry", field="text") from None


def _name_text(cube: MemCube, flat: Facets) -> None:
    check_texts(
        tenant=cube.tenant,
        author=cube.version.author,
        reason=cube.version.reason,
        parents="\1".join(parent.cube_id for parent in cube.version.parents),
        attributes="\1".join(cube.descriptive.attributes),
    )
    for field, value in flat.items():
        if isinstance(value, str | tuple):
            check_texts(**{field: value if isinstance(value, str) else "\1".join(value)})


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
    whole = "\1".join(texts)
    if not _plain(whole):
        raise InvalidInputError("a log entry holds NUL or is no UTF-8", operation=event.operation)
    if len(whole) <= _SURELY_SHORT:
        return
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
    whole = "\1".join(names.values())
    if len(whole) <= _SURELY_SHORT and _plain(whole):
        return
    check_texts(**names)
    for field, name in names.items():
        if len(name) > _SURELY_SHORT and len(name.encode()) > NAME_MAX_BYTES:
            raise InvalidInputError("a name is too long", field=field, max_bytes=NAME_MAX_BYTES)


def check_texts(**texts: str | None) -> None:
    """Verifies texts by field name: no NUL, no lone surrogates.

    Raises:
        InvalidInputError: names the first field that no store holds.
    """
    for field, text in texts.items():
        if text is not None and not _plain(text):
            raise InvalidInputError("a text holds NUL or is no UTF-8", field=field)


def made_of(cube: MemCube) -> list[str]:
    """Returns the ids of the memories that a version was made of, as far as stores can index them.

    Those are its sources, and the parents of a merge that are other memories.
    """
    named = [source.cube_id for source in cube.descriptive.sources]
    named += [parent.cube_id for parent in cube.version.parents if parent.cube_id != cube.id]
    ids = dict.fromkeys(name for name in named if name is not None)
    return [name for name in ids if _plain(name) and len(name.encode()) <= NAME_MAX_BYTES]


def _plain(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _check_number(field: str, value: FacetValue) -> None:
    if isinstance(value, int):
        if not _MIN <= value <= _MAX:
            raise InvalidInputError("a number does not fit 64 bits", field=field)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInputError("a number is not finite", field=field)
