"""Kills parts of a running cluster at random while writers write, and counts what is lost: nothing.

    python -m tests.fault.soak --kills 200 --seed 7

Each writer adds memories and updates some of them, always with idempotency keys, and repeats a
request until it is answered. Afterwards every acknowledged memory must be there exactly once, with
exactly the acknowledged versions; of a request that was never answered there may be one effect, or
none, but not half of one.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from memos_ray import MemOS
from memos_ray.cluster.folder import DataFolder
from memos_ray.errors import ClientError, MemosError
from tests.fault.processes import ClusterProcess

_WRITERS = 4
_BATCH = 5
PARTS = ("shard", "shard", "shard", "supervisor", "governance", "cluster")


@dataclass
class Ledger:
    """What the writers were told.

    Attributes:
        versions: by text of the first version, how many versions were acknowledged.
        unanswered: requests that were under way at the end.
    """

    versions: dict[str, int] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Writer(threading.Thread):
    """Adds and updates until told to stop."""

    def __init__(self, number: int, folder: DataFolder, ledger: Ledger, seed: int) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self._number = number
        self._folder = folder
        self._ledger = ledger
        self._random = random.Random(seed * 1000 + number)
        self._stop_asked = threading.Event()
        self.written = 0

    def ask_to_stop(self) -> None:
        """Finishes the request under way, then ends."""
        self._stop_asked.set()

    def run(self) -> None:
        """Writes."""
        serial = 0
        while not self._stop_asked.is_set():
            serial += 1
            if self._ledger.ids and self._random.random() < 0.3:
                self._update(serial)
            else:
                self._add(serial)

    def _add(self, serial: int) -> None:
        texts = [f"memory {self._number}-{serial}-{part}" for part in range(_BATCH)]
        items = [{"text": text, "idempotency_key": text} for text in texts]
        with self._ledger.lock:
            self._ledger.unanswered.update(texts)
        report = self._until_answered(lambda memos: memos.add(items))
        if report is None:
            return
        with self._ledger.lock:
            for text, result in zip(texts, report.results, strict=True):
                if result.ok:
                    self._ledger.unanswered.discard(text)
                    self._ledger.versions[text] = 1
                    self._ledger.ids[text] = result.id
                    self.written += 1

    def _update(self, serial: int) -> None:
        with self._ledger.lock:
            mine = [text for text in self._ledger.ids if text.startswith(f"memory {self._number}-")]
            if not mine:
                return
            text = self._random.choice(mine)
            memory_id = self._ledger.ids[text]
            self._ledger.unanswered.add(text)
        key = f"update {self._number}-{serial}"
        report = self._until_answered(
            lambda memos: memos.update(
                memory_id, mode="append", text=f"change {serial}", idempotency_key=key
            )
        )
        if report is not None:
            with self._ledger.lock:
                self._ledger.versions[text] += 1
                self._ledger.unanswered.discard(text)
                self.written += 1

    def _until_answered(self, act):  # type: ignore[no-untyped-def]
        while True:
            try:
                with MemOS(**connection(self._folder)) as memos:
                    while True:
                        report = act(memos)
                        failed = [r for r in report.results if r.error is not None]
                        if not failed:
                            return report
                        if any(not r.error.retryable for r in failed):
                            self._ledger.refused.append(str(failed[0].error))
                            return None
            except ClientError as error:
                self._ledger.refused.append(f"{type(error).__name__}: {error}")
                return None
            except (MemosError, OSError, ValueError):
                if self._stop_asked.is_set():
                    return None
                time.sleep(0.1)


def connection(folder: DataFolder) -> dict[str, str]:
    """Returns where the cluster of a data folder is right now, and its admin key."""
    state = json.loads(folder.state.read_text())
    return {"url": state["url"], "api_key": folder.admin_key.read_text().strip()}


def verify(folder: DataFolder, ledger: Ledger) -> list[str]:
    """Compares what is stored with what was acknowledged; returns a sentence per difference."""
    wrong: list[str] = []
    with MemOS(**connection(folder)) as memos:
        stored: dict[str, list[tuple[int, str]]] = {}
        for memory in memos.list_all():
            first, *changes = memory.text.split("\n")
            stored.setdefault(first, []).append((memory.version, memory.id))
            if memory.version != 1 + len(changes):
                wrong.append(f"{first}: version {memory.version} with {len(changes)} changes")
        for text, versions in ledger.versions.items():
            found = stored.get(text, [])
            most = versions + (text in ledger.unanswered)
            if len(found) != 1:
                wrong.append(f"{text}: stored {len(found)} times")
            elif not versions <= found[0][0] <= most:
                wrong.append(f"{text}: {found[0][0]} versions, {versions} acknowledged")
            elif len(memos.history(found[0][1], limit=1000).versions) != found[0][0]:
                wrong.append(f"{text}: the history has gaps")
        for text in set(stored) - set(ledger.versions) - ledger.unanswered:
            wrong.append(f"{text}: stored, but never asked for")
    return wrong


def soak(data: Path, kills: int, seed: int) -> dict[str, object]:
    """Runs writers through a number of kills and returns what happened."""
    chance, ledger, counts = random.Random(seed), Ledger(), dict.fromkeys(PARTS, 0)
    cluster, folder = ClusterProcess(data), DataFolder(data)
    cluster.start()
    writers = [Writer(number, folder, ledger, seed) for number in range(_WRITERS)]
    started = time.monotonic()
    try:
        for writer in writers:
            writer.start()
        done = 0
        while done < kills:
            before = sum(writer.written for writer in writers)
            time.sleep(chance.uniform(0.05, 0.6))
            part = chance.choice(PARTS)
            if not cluster.kill(part):
                continue
            done += 1
            counts[part] += 1
            if part == "cluster":
                cluster.start()
            _until_written(writers, before)
            print(f"{done}/{kills} killed {part}; {before} writes", file=sys.stderr)
        for writer in writers:
            writer.ask_to_stop()
        for writer in writers:
            writer.join(60)
        wrong = verify(folder, ledger)
    finally:
        for writer in writers:
            writer.ask_to_stop()
        cluster.stop()
    return {
        "kills": counts,
        "acknowledged": sum(ledger.versions.values()),
        "unanswered": len(ledger.unanswered),
        "refused": ledger.refused[:5],
        "wrong": wrong,
        "seconds": round(time.monotonic() - started),
        "seed": seed,
    }


def _until_written(writers: list[Writer], before: int, limit_s: float = 120.0) -> None:
    """Waits until writes go through again, so that every kill meets a working cluster."""
    deadline = time.monotonic() + limit_s
    while sum(writer.written for writer in writers) <= before:
        if time.monotonic() > deadline:
            raise RuntimeError("no write went through after the kill")
        time.sleep(0.05)


def main() -> None:
    """Parses the command line, soaks, and fails when anything was lost."""
    parser = argparse.ArgumentParser(description="Kills parts at random during writes.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memos-soak-") as folder:
        report = soak(Path(folder), arguments.kills, arguments.seed)
    print(json.dumps(report, indent=1))
    if report["wrong"] or report["refused"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
