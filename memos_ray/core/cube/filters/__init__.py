"""The caller's filter language: two spellings of one meaning, and the way back.

    tags:work and not speaker:"Bob Smith" and (event_time >= 2023-05-01 or priority > 3)

    {"and": [{"field": "tags", "op": "any", "value": ["work"]},
             {"not": {"field": "speaker", "op": "eq", "value": "Bob Smith"}}]}

An expression is made of comparisons, `and`, `or`, `not`, parentheses, `true` and `false`; `not`
binds tightest, `or` loosest. A comparison is `field operator value`, `field in (…)`,
`field not in (…)` or `has(field)`. Fields are those of `core.cube.facets`, and the caller's own as
`attributes.name` or `attributes."any name"`.

    :  =        equals; on a set field (`tags`, `readers`, …): holds the value
    !=          the opposite, so that it is true of a memory without the field
    < <= > >=   on times and numbers
    in          equals, or holds, one of the values

Values with spaces or punctuation take quotation marks, double or single, with the escapes of JSON.
Unquoted ones are read as the field demands: `session:12` is a text, `priority:12` a number. On an
attribute, an unquoted number or `true` is no text, and a quoted one is.

Times are dates, date-times (UTC unless they name an offset) or relative: `now-7d`, `now+1h30m`,
in weeks, days, hours, minutes or seconds. A date is the whole day in UTC: `= 2023-05-01` is any
moment of it, `> 2023-05-01` is after it, `<= 2023-05-01` includes it.

The JSON spelling has one key per object: `and` and `or` with a list (an empty `and` is true, an
empty `or` false), `not` with an object; or `field`, `op` and `value`, where `op` is `eq`, `ne`,
`in`, `any` (holds one of), `all` (holds each of), `lt`, `lte`, `gt`, `gte`, `between` (a list of
two, `lower <= x < upper`, where null is open) or `exists` (with true or false).

Limits: see `syntax`. Cost: linear in the length of the filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from memos_ray.core.cube.filters.describing import describe
from memos_ray.core.cube.filters.document import read_document
from memos_ray.core.cube.filters.expression import read_expression
from memos_ray.core.cube.filters.meaning import resolve
from memos_ray.core.cube.predicate import Predicate


def parse(
    source: str | Mapping[str, object], now: datetime, *, predicted: bool = False
) -> Predicate:
    """Reads a filter in either spelling.

    Args:
        source: an expression, or a decoded JSON object.
        now: what `now` means in it, aware.
        predicted: whether it may be about predicted tags (`core.cube.predicted`), which whoever
            evaluates it must know.

    Raises:
        InvalidFilterError: it cannot be understood; `position` (characters before the culprit) or
            `path` (a JSON pointer) says where, the message says why.
    """
    tree = read_expression(source) if isinstance(source, str) else read_document(source)
    return resolve(tree, now, predicted=predicted)


__all__ = ["describe", "parse"]
