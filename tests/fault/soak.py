"""Kills parts of a cluster at random while writers write, and counts what is lost: nothing.

    python -m tests.fault.soak --kills 200 --seed 7

Afterwards every acknowledged write must be there exactly once and as it was acknowledged, in the
answers of the service, in its SQLite files and in Milvus; nothing may be there by half, twice, or
unasked. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from memos_ray import MemOS
from memos_ray.cluster.folder import DataFolder
from tests.fault.cluster_process import PARTS, ClusterProcess
from tests.fault.ledger import Expected, Ledger
from tests.fault.verification import verify_files, verify_running, wait_until_indexed
from tests.fault.writer import Writer

_WRITERS = 4
_WEIGHTS = {"shard": 6, "control": 6, "gateway": 3, "milvus": 3, "cluster": 2}
_PAUSE_S = (0.0, 1.5)
_VOLLEYS = 0.25
_RECOVERY_S = 240.0

T = TypeVar("T")


@dataclass(slots=True)
class Killer:
    """Decides what is killed next, from its seed alone.

    Every part comes once before any comes by chance.
    """

    cluster: ClusterProcess
    dice: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    _due: list[str] = field(default_factory=lambda: list(PARTS))

    def __post_init__(self) -> None:
        self.dice.shuffle(self._due)

    def strike(self) -> str:
        """Kills one process of some part, and returns which part it was.

        A part that is just being started again is waited for.
        """
        part = self._due.pop() if self._due else self._draw()
        if part == "cluster":
            self.cluster.kill_whole()
            self.cluster.start()
        else:
            pids = _eventually(lambda: self.cluster.pids(part), f"no {part} runs")
            self.cluster.kill(self.dice.choice(pids))
        self.killed[part] += 1
        return part

    def _draw(self) -> str:
        return self.dice.choices(PARTS, [_WEIGHTS[part] for part in PARTS])[0]


@dataclass(slots=True)
class Soak:
    """One run.

    Attributes:
        recovery_s: by part, how long it took until every writer had been answered again.
    """

    cluster: ClusterProcess
    kills: int
    seed: int
    ledger: Ledger = field(default_factory=Ledger)
    recovery_s: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def run(self) -> dict[str, object]:
        """Runs it and returns what happened."""
        started = time.monotonic()
        dice = random.Random(self.seed)
        killer = Killer(self.cluster, dice)
        self.cluster.start()
        try:
            contested = self._set_the_scene()
            writers = [
                Writer(number, self._connect, contested, self.ledger, self.seed)
                for number in range(_WRITERS)
            ]
            self._write_and_kill(writers, killer, dice)
            with self._connect() as memos:
                self.wrong += verify_running(memos, self.ledger, contested)
                self.wrong += wait_until_indexed(memos)
        finally:
            self.cluster.stop()
        self.wrong += [f"left behind: {name}" for name in self.cluster.left_behind()]
        self.wrong += verify_files(DataFolder(self.cluster.data), self.ledger, contested)
        return self._summary(killer, time.monotonic() - started)

    def _connect(self) -> MemOS:
        return MemOS(url=self.cluster.url, api_key=self.cluster.api_key)

    def _set_the_scene(self) -> Expected:
        """Makes the namespaces, and the memory that all writers will update."""
        shared = "user:admin/shared"
        with self._connect() as memos:
            for number in range(_WRITERS):
                memos.admin.create_namespace(f"user:admin/writer-{number}", "user_private")
            memos.admin.create_namespace(shared, "user_private")
            text, key = "entry contested kept", "add contested"
            made = memos.add(text, shared, idempotency_key=key)
        self.ledger.acknowledge(key, "add", made.id, made.version)
        return Expected(made.id or "", shared, [text])

    def _write_and_kill(
        self, writers: Sequence[Writer], killer: Killer, dice: random.Random
    ) -> None:
        for writer in writers:
            writer.start()
        try:
            _all_answered(writers)
            while killer.killed.total() < self.kills:
                time.sleep(dice.uniform(*_PAUSE_S))
                struck_at = time.monotonic()
                part = killer.strike()
                self._note(killer, part)
                if dice.random() < _VOLLEYS:
                    continue
                _all_answered(writers)
                self.recovery_s.setdefault(part, []).append(time.monotonic() - struck_at)
            _all_answered(writers)
        finally:
            for writer in writers:
                writer.finish()
            for writer in writers:
                writer.join(_RECOVERY_S)
        self.wrong += [f"{w.name} ended: {w.failure!r}" for w in writers if w.failure]
        self.wrong += [f"{writer.name} hangs" for writer in writers if writer.is_alive()]

    def _note(self, killer: Killer, part: str) -> None:
        done, answers = killer.killed.total(), len(self.ledger.answers)
        sys.stderr.write(f"{done}/{self.kills} killed {part}; {answers} writes acknowledged\n")

    def _summary(self, killer: Killer, seconds: float) -> dict[str, object]:
        return {
            "kills": {"all": killer.killed.total(), **killer.killed},
            "failed_starts": self.cluster.failed_starts,
            "acknowledged": {"all": len(self.ledger.answers), **self.ledger.counts()},
            "abandoned": len(self.ledger.abandoned),
            "repeats": self.ledger.repeats,
            "replays": self.ledger.replays,
            "recovery_s": {
                part: {
                    "median": round(statistics.median(times), 1),
                    "worst": round(max(times), 1),
                }
                for part, times in sorted(self.recovery_s.items())
            },
            "wrong": self.wrong[:50],
            "seconds": round(seconds),
            "seed": self.seed,
        }


def _all_answered(writers: Sequence[Writer]) -> None:
    """Waits until each writer has got one more answer."""
    before = [writer.acknowledged for writer in writers]

    def answered() -> bool:
        for writer in writers:
            if writer.failure is not None:
                raise RuntimeError(f"{writer.name} ended") from writer.failure
        return all(w.acknowledged > b for w, b in zip(writers, before, strict=True))

    _eventually(answered, "writes do not go through any more")


def _eventually(condition: Callable[[], T], complaint: str) -> T:
    deadline = time.monotonic() + _RECOVERY_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(complaint)
        time.sleep(0.05)
    return found


def main() -> None:
    """Soaks, prints what happened, and fails when anything is wrong."""
    parser = argparse.ArgumentParser(description="Kills parts of a cluster during writes.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keeps the data there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memos-soak-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cluster = ClusterProcess(folder / "data")
        try:
            report = Soak(cluster, arguments.kills, arguments.seed).run()
        except BaseException:
            sys.stderr.write(cluster.tail())
            raise
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    if report["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
