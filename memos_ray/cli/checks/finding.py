"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result.

    Attributes:
        check: what was looked at.
        found: what was found, in one line.
        advice: what to do about it; empty when all is well.
    """

    check: str
    grade: Grade
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Grade.OK, found)


def warn(check: str, found: str, advice: str) -> Finding:
    """It works, but not as it should."""
    return Finding(check, Grade.WARN, found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """It does not work."""
    return Finding(check, Grade.FAIL, found, advice)
