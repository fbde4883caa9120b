"""What writers asked for and were told: what has to be true in the end."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Kept(StrEnum):
    """How a memory has to be found."""

    ALIVE = "alive"
    DELETED = "deleted"
    ERASED = "erased"


@dataclass(slots=True)
class Expected:
    """A memory as the acknowledgements describe it.

    Attributes:
        lines: its text: the first line names it, each update has added one.
    """

    id: str
    namespace: str
    lines: list[str]
    version: int = 1
    kept: Kept = Kept.ALIVE


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The answer to one write."""

    verb: str
    id: str
    version: int


@dataclass(slots=True)
class Ledger:
    """Everything that was acknowledged, and what was not.

    Attributes:
        answers: by idempotency key.
        memories: by id; each belongs to one writer.
        race: by version of the memory that all writers update, the line that made it.
        abandoned: keys of additions that a writer gave up at their first failure, with their
            texts: all of a memory is there once, or none of it.
        complaints: answers that can never be right, a sentence each.
        repeats: requests sent again after a failure.
        replays: answers that an earlier try had earned.
    """

    answers: dict[str, Acknowledged] = field(default_factory=dict)
    memories: dict[str, Expected] = field(default_factory=dict)
    race: dict[int, str] = field(default_factory=dict)
    abandoned: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    repeats: int = 0
    replays: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, key: str, verb: str, id: str | None, version: int | None) -> None:
        """Notes an answer.

        Raises:
            AssertionError: it names no version.
        """
        assert id is not None and version is not None, f"{key}: an answer without a version"
        with self._lock:
            self.answers[key] = Acknowledged(verb, id, version)

    def win(self, version: int, line: str) -> None:
        """Notes who made a version of the contested memory; it takes one winner each."""
        with self._lock:
            if version in self.race:
                self.complaints.append(f"version {version} was acknowledged to two writers")
            self.race[version] = line

    def complain(self, sentence: str) -> None:
        """Notes what can never be right."""
        with self._lock:
            self.complaints.append(sentence)

    def counts(self) -> dict[str, int]:
        """Returns how many writes of each kind were acknowledged."""
        return dict(Counter(answer.verb for answer in list(self.answers.values())))
