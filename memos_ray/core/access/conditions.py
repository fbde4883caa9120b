"""Conditions of rules, ready to decide: on the memory, on the call, on the namespace's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from memos_ray.core.access.model import (
    Circumstances,
    MemoryCondition,
    TimeWindow,
    is_home,
)
from memos_ray.core.cube.predicate import HasAny, Not, OneOf, Predicate, all_of
from memos_ray.errors import InvalidInputError


def to_predicate(condition: MemoryCondition) -> Predicate:
    """Translates a condition on the memory; `Everything` when it demands nothing."""
    parts: list[Predicate] = []
    if condition.semantic_types:
        kinds = tuple(kind.value for kind in condition.semantic_types)
        parts.append(OneOf("semantic_type", kinds))
    if condition.forms:
        parts.append(OneOf("form", tuple(form.value for form in condition.forms)))
    if condition.owners:
        parts.append(OneOf("owner", condition.owners))
    if condition.tags:
        parts.append(HasAny("tags", condition.tags))
    if condition.without_tags:
        parts.append(Not(HasAny("tags", condition.without_tags)))
    if condition.sensitivity:
        parts.append(HasAny("sensitivity", condition.sensitivity))
    if condition.without_sensitivity:
        parts.append(Not(HasAny("sensitivity", condition.without_sensitivity)))
    return all_of(*parts)


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """Returns a time zone by its IANA name.

    Raises:
        InvalidInputError: when this machine knows no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInputError("no such time zone", tz=name) from None


@dataclass(frozen=True, slots=True)
class Call:
    """What conditions look at: the context with everything that the credential fixes filled in."""

    purpose: str | None
    role: str | None
    application: str | None
    now: datetime


@dataclass(frozen=True, slots=True)
class _Window:
    start: time
    end: time
    weekdays: frozenset[int]
    place: ZoneInfo

    @classmethod
    def of(cls, window: TimeWindow) -> Self:
        days = frozenset(window.weekdays or range(1, 8))
        return cls(window.start, window.end, days, zone(window.tz))

    def covers(self, moment: datetime) -> bool:
        local = moment.astimezone(self.place)
        clock, today = local.time(), local.isoweekday()
        if self.start < self.end:
            return today in self.weekdays and self.start <= clock < self.end
        yesterday = (today - 2) % 7 + 1
        opened_today = today in self.weekdays and clock >= self.start
        return opened_today or (yesterday in self.weekdays and clock < self.end)


@dataclass(frozen=True, slots=True)
class CallTest:
    """A compiled `Circumstances`."""

    purposes: frozenset[str]
    roles: frozenset[str]
    applications: frozenset[str]
    windows: tuple[_Window, ...]
    not_before: datetime | None
    not_after: datetime | None

    @classmethod
    def of(cls, circumstances: Circumstances) -> Self | None:
        """Compiles; nothing when every call qualifies.

        Raises:
            InvalidInputError: for an unknown time zone.
        """
        if circumstances == Circumstances():
            return None
        return cls(
            frozenset(circumstances.purposes),
            frozenset(circumstances.roles),
            frozenset(circumstances.applications),
            tuple(_Window.of(window) for window in circumstances.windows),
            circumstances.not_before,
            circumstances.not_after,
        )

    def holds(self, call: Call) -> bool:
        """Decides; what the call does not say matches no list."""
        return not (
            (self.purposes and call.purpose not in self.purposes)
            or (self.roles and call.role not in self.roles)
            or (self.applications and call.application not in self.applications)
            or (self.not_before is not None and call.now < self.not_before)
            or (self.not_after is not None and call.now >= self.not_after)
            or (self.windows and not any(window.covers(call.now) for window in self.windows))
        )


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """Compiled namespace patterns of one rule.

    Matching is greedy and linear in the name, whatever the pattern: administrators of one tenant
    cannot write a pattern that stalls a shard for the others.

    Attributes:
        prefixes: patterns whose only `*` is at their end, without it.
        globs: all other patterns with a `*`, split there.
        home_prefixes: those of `prefixes` that spell out a kind of principal.
        home_globs: those of `globs` that do.
    """

    exact: frozenset[str]
    prefixes: tuple[str, ...]
    globs: tuple[tuple[str, ...], ...]
    home_prefixes: tuple[str, ...]
    home_globs: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, patterns: tuple[str, ...]) -> Self:
        """Compiles patterns in which `*` stands for any characters, none included."""
        parts = [tuple(pattern.split("*")) for pattern in patterns if "*" in pattern]
        prefixes = tuple(each[0] for each in parts if len(each) == 2 and not each[1])
        globs = tuple(each for each in parts if len(each) > 2 or each[1])
        return cls(
            frozenset(pattern for pattern in patterns if "*" not in pattern),
            prefixes,
            globs,
            tuple(prefix for prefix in prefixes if is_home(prefix)),
            tuple(each for each in globs if is_home(each[0])),
        )

    @property
    def wild(self) -> bool:
        """Whether a pattern may match namespaces that it does not name."""
        return bool(self.prefixes or self.globs)

    @property
    def wild_in_homes(self) -> bool:
        """Whether a wildcard spells out a kind of principal."""
        return bool(self.home_prefixes or self.home_globs)

    def match(self, namespace: str, private: bool) -> bool:
        """Tells whether a namespace is meant.

        Args:
            private: demand that a wildcard spells out the kind of principal.
        """
        if namespace in self.exact:
            return True
        if namespace.startswith("@"):
            return False
        prefixes = self.home_prefixes if private else self.prefixes
        if prefixes and namespace.startswith(prefixes):
            return True
        globs = self.home_globs if private else self.globs
        return bool(globs) and any(_glob(parts, namespace) for parts in globs)


def _glob(parts: tuple[str, ...], name: str) -> bool:
    first, *middle, last = parts
    if not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end
