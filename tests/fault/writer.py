"""A client that writes without pause, repeats what is not answered, and keeps the answers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from memos_ray import MemOS, WriteReport, WriteResult
from memos_ray.errors import MemosError, VersionConflictError
from memos_ray.gateway.problems import error_of_problem
from tests.fault.ledger import Expected, Kept, Ledger

_PATIENCE_S = 240.0
_PAUSE_S = 0.05
_ABANDONED = 0.05
_LOOKED_AT = 0.15
_MOST_ITEMS = 4
_NEAR = 50

T = TypeVar("T")


class NoAnswerError(Exception):
    """Nobody answered for too long."""


class Writer(threading.Thread):
    """Adds, updates, deletes, restores and erases memories of its own, and races for a common one.

    Every write carries an idempotency key, and every change the version that it expects. A write
    is repeated until there is an answer, but some additions are given up at the first failure.

    Args:
        contested: the memory that all writers update.
    """

    def __init__(
        self,
        number: int,
        connect: Callable[[], MemOS],
        contested: Expected,
        ledger: Ledger,
        seed: int,
    ) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self.acknowledged = 0
        self.failure: BaseException | None = None
        self.namespace = f"user:admin/writer-{number}"
        self._number = number
        self._connect = connect
        self._contested = contested
        self._seen = contested.version
        self._ledger = ledger
        self._dice = random.Random(seed * 1000 + number)
        self._serial = 0
        self._mine: list[Expected] = []
        self._over = threading.Event()

    def finish(self) -> None:
        """Asks it to end behind the write that is under way."""
        self._over.set()

    def run(self) -> None:
        """Writes until told to finish."""
        verbs = (self._add, self._update, self._remove, self._race)
        try:
            with self._connect() as memos:
                while not self._over.is_set():
                    self._serial += 1
                    self._dice.choices(verbs, (5, 4, 1, 2))[0](memos)
        except BaseException as error:
            self.failure = error

    def _add(self, memos: MemOS) -> None:
        count = self._dice.randint(1, _MOST_ITEMS)
        # An odd number of words, always: the hashes of two may cancel out, and a vector without a
        # direction is not searched for.
        texts = [f"entry w{self._number}x{self._serial}x{part} kept" for part in range(count)]
        keys = [f"add {text}" for text in texts]
        items = [
            {"text": text, "tags": ["soak"], "idempotency_key": key}
            for text, key in zip(texts, keys, strict=True)
        ]
        abandoned = self._dice.random() < _ABANDONED
        try:
            report = self._insist(lambda: _whole(memos.add(items, self.namespace)), once=abandoned)
        except NoAnswerError:
            if not abandoned:
                raise
            self._ledger.abandoned.update(zip(keys, texts, strict=True))
            return
        for text, key, result in zip(texts, keys, report.results, strict=True):
            self._answered(key, "add", result, 1)
            memory = Expected(result.id or "", self.namespace, [text])
            self._ledger.memories[memory.id] = memory
            self._mine.append(memory)
        if self._dice.random() < _LOOKED_AT:
            self._look_for(memos, self._mine[-1])

    def _update(self, memos: MemOS) -> None:
        memory = self._pick(Kept.ALIVE)
        if memory is None:
            return
        line = f"change w{self._number}x{self._serial}"
        result = self._insist(
            lambda: memos.update(
                memory.id,
                line,
                mode="append",
                expected_version=memory.version,
                idempotency_key=line,
            )
        )
        self._answered(line, "update", result, memory.version + 1)
        memory.lines.append(line)
        memory.version += 1
        if self._dice.random() < _LOOKED_AT:
            self._look_at(memos, memory)

    def _remove(self, memos: MemOS) -> None:
        """Deletes a memory, erases one, or brings one back."""
        verb = self._dice.choice(("delete", "restore", "erase"))
        memory = self._pick(Kept.DELETED if verb == "restore" else Kept.ALIVE)
        if memory is None:
            return
        key = f"{verb} w{self._number}x{self._serial}"
        if verb == "restore":
            result = self._insist(lambda: memos.restore(memory.id, idempotency_key=key))
            memory.kept = Kept.ALIVE
        else:
            hard = verb == "erase"
            result = self._insist(
                lambda: memos.delete(
                    memory.id, hard=hard, expected_version=memory.version, idempotency_key=key
                )
            )
            memory.kept = Kept.ERASED if hard else Kept.DELETED
        memory.version = 0 if verb == "erase" else memory.version + 1
        self._answered(key, verb, result, memory.version)

    def _race(self, memos: MemOS) -> None:
        """Makes the next version of the common memory, unless another writer was faster."""
        line = f"race w{self._number}x{self._serial}"
        expected = self._seen
        try:
            result = self._insist(
                lambda: memos.update(
                    self._contested.id,
                    line,
                    mode="append",
                    expected_version=expected,
                    idempotency_key=line,
                )
            )
        except VersionConflictError:
            self._seen = self._insist(lambda: memos.get(self._contested.id)).version
            if self._seen <= expected:
                self._ledger.complain(f"a conflict at version {expected}, then {self._seen} read")
            return
        self._answered(line, "update", result, expected + 1)
        self._ledger.win(expected + 1, line)
        self._seen = expected + 1

    def _look_at(self, memos: MemOS, memory: Expected) -> None:
        """What was acknowledged is read, at once."""
        found = self._insist(lambda: memos.get(memory.id))
        if (found.version, found.text) != (memory.version, "\n".join(memory.lines)):
            self._ledger.complain(f"{memory.id}: {found.version} read, {memory.version} written")

    def _look_for(self, memos: MemOS, memory: Expected) -> None:
        """What was acknowledged is found at once, by its word if not yet by its vector."""
        name = memory.lines[0].split()[1]
        found = self._insist(
            lambda: memos.search(name, namespace=self.namespace, parse=False, limit=_NEAR)
        )
        if memory.id not in [hit.memory.id for hit in found.hits]:
            self._ledger.complain(f"{memory.lines[0]}: acknowledged and not found")

    def _pick(self, kept: Kept) -> Expected | None:
        candidates = [memory for memory in self._mine if memory.kept is kept]
        return self._dice.choice(candidates) if candidates else None

    def _answered(self, key: str, verb: str, result: WriteResult, version: int) -> None:
        if result.version != version:
            self._ledger.complain(f"{key}: version {result.version} instead of {version}")
        self._ledger.replays += result.replayed
        self._ledger.acknowledge(key, verb, result.id, result.version)
        self.acknowledged += 1

    def _insist(self, act: Callable[[], T], once: bool = False) -> T:
        """Repeats a request until it is answered.

        Raises:
            VersionConflictError: that was the answer.
            NoAnswerError: there was none, the first time or for too long.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return act()
            except MemosError as error:
                if not error.retryable:
                    raise
                if once or time.monotonic() > deadline:
                    raise NoAnswerError(str(error)) from error
                self._ledger.repeats += 1
            time.sleep(_PAUSE_S)


def _whole(report: WriteReport) -> WriteReport:
    """Returns a report without failures; the first failure is raised."""
    for result in report.results:
        if result.error is not None:
            raise error_of_problem(result.error)
    return report
