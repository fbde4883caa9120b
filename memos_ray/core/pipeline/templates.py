"""Texts with names in them: `{step.text}`, `{params.case}`, `{item.id}`; `{{` and `}}` are braces.

A name is looked up in what it is given and nowhere else. There are no expressions, calls, indexes
or attributes, and what is put in is never read as a template again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from memos_ray.errors import InvalidInputError, PayloadTooLargeError

PARAMS = "params"
ITEM = "item"
RENDERED_MAX = 1 << 20
"""Length of a text that was made, as UTF-8."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+)\}|[{}]")

Scope = Mapping[str, Mapping[str, object]]


def paths_in(template: str) -> tuple[str, ...]:
    """Returns the names in a template.

    Raises:
        InvalidInputError: a brace that is neither a name's nor doubled.
    """
    found = []
    for match in _TOKEN.finditer(template):
        if match[0] in "{}":
            raise InvalidInputError(
                "a brace must be doubled, or hold a name such as {step.text}",
                position=match.start(),
            )
        if match[1]:
            found.append(match[1])
    return tuple(found)


def render(template: str, scope: Scope) -> str:
    """Puts values in place of names.

    Args:
        scope: values by the two parts of a name.

    Raises:
        InvalidInputError: a name has no value.
        PayloadTooLargeError: the text would be longer than `RENDERED_MAX`.
    """
    size = 0

    def value(match: re.Match[str]) -> str:
        nonlocal size
        path = match[1]
        if path is None:
            return match[0][0]
        root, _, name = path.partition(".")
        values = scope.get(root, {})
        if name not in values:
            raise InvalidInputError("a template names what there is not", name=path)
        text = _written(values[name])
        size += len(text.encode(errors="surrogatepass"))
        if size > RENDERED_MAX:
            raise PayloadTooLargeError("a template makes too long a text", limit=RENDERED_MAX)
        return text

    return _TOKEN.sub(value, template)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
