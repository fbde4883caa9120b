"""Reads the SQLite files of a stopped cluster directly, and says what does not fit together.

Not through the record store: what it would overlook is to be seen here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

_EVENTS = "SELECT lsn, tenant, cube_id, version, operation, outcome FROM event ORDER BY lsn"
_VERSIONS = "SELECT tenant, cube_id, number, lsn, state, body FROM version ORDER BY 1, 2, 3"
_HEADS = "SELECT tenant, id, number, state, namespace FROM cube"
_STRAYS = {
    "labels of no memory": (
        "SELECT count(*) FROM label AS l WHERE NOT EXISTS"
        " (SELECT 1 FROM cube AS c WHERE c.tenant = l.tenant AND c.id = l.cube_id)"
    ),
    "vectors of no version": (
        "SELECT count(*) FROM vector AS w WHERE NOT EXISTS (SELECT 1 FROM version AS v"
        " WHERE v.tenant = w.tenant AND v.cube_id = w.cube_id AND v.number = w.version)"
    ),
    "cursors beyond the log": (
        "SELECT count(*) FROM cursor AS r, fence AS f WHERE r.lsn > f.lsn OR r.lsn < 0"
    ),
    "replies to the same write": (
        "SELECT count(*) - count(DISTINCT json_extract(CAST(body AS TEXT), '$.lsn')) FROM reply"
    ),
}


Place = tuple[int, str, str]
"""Partition, tenant, namespace."""


@dataclass(slots=True)
class Stored:
    """What the files of a folder hold.

    Attributes:
        heads: by id: version, state and text.
        replies: by idempotency key: id and version.
        alive: by place, the memories that are not deleted.
        wrong: a sentence for everything that does not fit together.
    """

    heads: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    replies: dict[str, tuple[str, int]] = field(default_factory=dict)
    alive: dict[Place, set[str]] = field(default_factory=dict)
    events: int = 0
    wrong: list[str] = field(default_factory=list)


def audit(records: Path) -> Stored:
    """Reads all partitions of a data folder."""
    stored = Stored()
    for file in sorted(records.glob("p[0-9]*.sqlite")):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            partition = int(file.stem[1:])
            for sentence in _Partition(connection, partition, stored).findings():
                stored.wrong.append(f"{file.stem}: {sentence}")
    return stored


@dataclass(slots=True)
class _Partition:
    connection: sqlite3.Connection
    number: int
    stored: Stored

    def findings(self) -> Iterator[str]:
        """Yields what is wrong, and enters what is there into `stored`."""
        for (line,) in self.connection.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield line
        for what, query in _STRAYS.items():
            (count,) = self.connection.execute(query).fetchone()
            if count:
                yield f"{count} {what}"
        events = self.connection.execute(_EVENTS).fetchall()
        self.stored.events += len(events)
        yield from self._log(events)
        made = {(tenant, cube, version): lsn for lsn, tenant, cube, version, _, _ in events}
        yield from self._versions(events, made)
        yield from self._replies({event[0]: event for event in events})

    def _log(self, events: list[tuple]) -> Iterator[str]:
        if [event[0] for event in events] != list(range(1, len(events) + 1)):
            yield "the log has gaps"
        fences = self.connection.execute("SELECT lsn FROM fence").fetchall()
        if fences != [(len(events),)]:
            yield f"the fence says {fences}, the log ends at {len(events)}"
        done = [event[1:4] for event in events if event[5] == "done" and event[4] != "erase"]
        if len(done) != len(set(done)):
            yield f"{len(done) - len(set(done))} versions were made twice"

    def _versions(
        self, events: list[tuple], made: dict[tuple[str, str, int], int]
    ) -> Iterator[str]:
        erased = {event[1:3] for event in events if event[4] == "erase" and event[5] == "done"}
        chains: dict[tuple[str, str], list[int]] = {}
        bodies: dict[tuple[str, str], tuple[int, str, str]] = {}
        for tenant, cube, number, lsn, state, body in self.connection.execute(_VERSIONS):
            chains.setdefault((tenant, cube), []).append(number)
            content = json.loads(body)
            bodies[tenant, cube] = number, state, content["payload"].get("text", "")
            if made.get((tenant, cube, number)) != lsn:
                yield f"version {number} of {cube} has no log entry of its own"
            if (content["id"], content["version"]["number"]) != (cube, number):
                yield f"version {number} of {cube} holds another one"
        logged = {event[1:3] for event in events if event[3] is not None and event[5] == "done"}
        if logged - erased != set(chains):
            yield f"{len((logged - erased) ^ set(chains))} memories differ from the log"
        heads = self.connection.execute(_HEADS).fetchall()
        if {head[:2] for head in heads} != set(chains):
            yield "there are heads without versions, or versions without a head"
        for tenant, cube, number, state, namespace in heads:
            chain = chains.get((tenant, cube), [])
            if chain != list(range(1, number + 1)):
                yield f"{cube} is at version {number} and has {chain}"
            elif bodies[tenant, cube][:2] != (number, state):
                yield f"the head of {cube} is not its newest version"
            else:
                self.stored.heads[cube] = bodies[tenant, cube]
                if state != "deleted":
                    place = self.number, tenant, namespace
                    self.stored.alive.setdefault(place, set()).add(cube)

    def _replies(self, events: dict[int, tuple]) -> Iterator[str]:
        for key, body in self.connection.execute("SELECT key, body FROM reply"):
            reply = json.loads(body)
            event = events.get(reply["lsn"])
            expected = (reply["cube_id"], reply["version"] or None, "done")
            if event is None or (event[2], event[3], event[5]) != expected:
                yield f"the reply to {key!r} speaks of another write"
            if key in self.stored.replies:
                yield f"there are two replies to {key!r}"
            self.stored.replies[key] = reply["cube_id"], reply["version"]
