"""Heads of texts as they rest, cut into what moves look at, and not decoded (see `moving`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from memos_ray.core.cube import wire
from memos_ray.core.cube.cube import State
from memos_ray.core.cube.decoding import descriptive_of, governance_of, lifespan_of
from memos_ray.core.cube.facets import Facets, FacetValue, flattened, to_micros
from memos_ray.core.cube.metadata import ExpiresAt, Forever, Lifespan
from memos_ray.core.cube.payload import Form
from memos_ray.core.vault.log import CubeKey, Resting
from memos_ray.errors import StoreCorruptError

_TEXT, _AWAY = b'{"text":', b'{"blob":'
# Most memories of a namespace are governed alike.
_SAME = 64
_VISIBILITY = b',"visibility":'
_LIFESPAN, _HELD = b',"lifespan":', b',"legal_hold":true}'
_STATES = {state.value: state for state in State}
_ALWAYS = Forever()
_FOREVER = orjson.dumps(_ALWAYS)
WEIGHTLESS = (None, State.DELETED)
"""States in which no text counts; nothing is that of what is erased."""


class Rules(NamedTuple):
    """What moves look at of the governance."""

    lifespan: Lifespan
    legal_hold: bool


class Head(NamedTuple):
    """A head of a text, as far as a move looks at it. A tuple: thousands are made at once.

    Attributes:
        away: its content is archived where nobody can read it now.
    """

    id: str
    namespace: str
    number: int
    made_at: datetime
    state: State
    frozen: bool
    governance: Rules
    sketch: str | None
    parts: wire.Parts
    away: bool

    @property
    def expires_at(self) -> int | None:
        """End of its lifespan, microseconds since 1970, if it has one."""
        lifespan = self.governance.lifespan
        return to_micros(lifespan.at) if isinstance(lifespan, ExpiresAt) else None


_NEAR = frozenset(("id", "namespace", "frozen", "expires_at"))


@lru_cache(maxsize=_SAME)
def _owner(start: bytes) -> str:
    return _parsed(start + b"}")["owner"]


class RestingFacets(Mapping[str, FacetValue]):
    """`facets_of` a head: what policies ask of every memory is at hand, the rest is parsed late."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._whole: Facets | None = None

    def __getitem__(self, name: str) -> FacetValue:
        if name == "owner":
            return _owner(self._head.parts.rules.partition(_VISIBILITY)[0])
        if name not in _NEAR:
            return self._all()[name]
        value: FacetValue | None = getattr(self._head, name)
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Facets:
        if self._whole is None:
            head, parts = self._head, self._head.parts
            try:
                about = descriptive_of(orjson.loads(parts.about))
                rules = governance_of(orjson.loads(parts.rules))
            except (KeyError, TypeError, ValueError):
                raise StoreCorruptError("stored bytes are no cube") from None
            where = head.id, head.namespace, head.state, head.frozen
            self._whole = flattened(*where, Form.PLAINTEXT, about, rules)
        return self._whole


def _parsed(part: bytes) -> dict[str, str]:
    try:
        held: dict[str, str] = orjson.loads(part)
    except ValueError:
        # `from None`: the parser's message would quote the memory.
        raise StoreCorruptError("stored bytes are no cube") from None
    return held


def read(resting: Iterable[Resting]) -> dict[CubeKey, Head] | None:
    """Reads heads; nothing when one of them is no text.

    Raises:
        StoreCorruptError: a body is no cube.
    """
    heads: dict[CubeKey, Head] = {}
    for key, namespace, number, state, frozen, sketch, body in resting:
        parts = wire.cut(body)
        away = parts.payload.startswith(_AWAY)
        if not (away or parts.payload.startswith(_TEXT)):
            return None
        try:
            rules, made_at = _rules(parts.rules), parts.made_at
        except (KeyError, TypeError, ValueError):
            # `from None`: the parser's message would quote the memory.
            raise StoreCorruptError("stored bytes are no cube") from None
        heads[key] = Head(
            key.id, namespace, number, made_at, _STATES[state], frozen, rules, sketch, parts, away
        )
    return heads


@lru_cache(maxsize=_SAME)
def _rules(rules: bytes) -> Rules:
    lifespan = rules.partition(_LIFESPAN)[2].partition(b"}")[0] + b"}"
    return Rules(
        _ALWAYS if lifespan == _FOREVER else lifespan_of(orjson.loads(lifespan)),
        rules.endswith(_HELD),
    )


def weight(head: Head, state: State | None) -> int | None:
    """Returns what a text counts for in a state; see `quotas.weight`."""
    if state in WEIGHTLESS:
        return 0
    return None if head.away else len(_parsed(head.parts.payload)["text"].encode())


def forever(rules: bytes) -> bytes:
    """Returns a governance with a lifespan that does not end."""
    before, mark, after = rules.partition(_LIFESPAN)
    return before + mark + _FOREVER + after.partition(b"}")[2]
