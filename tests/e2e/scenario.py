"""One story, told through any client of MemOS; its transcript is the same wherever that connects.

    python -P tests/e2e/scenario.py ADDRESS DATA KEY

tells it to the cluster at a Ray address and prints the transcript as JSON. Ids, times, cursors and
tokens differ between two tellings; a transcript holds stand-ins for them, in order of appearance.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from memos_ray import MemOS, MemosError, NewMemory, SearchQuery

HOME = "user:admin"
MARKDOWN = b"""---
title: Trip
tags: [travel]
---
# Plan

We take the night train to Lisbon.

## Packing

A scarf, a map and the small camera.
"""
DIALOGUE = [
    {"role": "user", "name": "Ana", "content": "I moved to Lisbon last month."},
    {"role": "assistant", "content": "How do you like it there?"},
    {"role": "user", "name": "Ana", "content": "The light is wonderful, and the hills are steep."},
]
_MINTED = re.compile(
    r"\b(?:[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|[a-z2-7]{16})\b"
)
_DIFFERS = frozenset(
    {"created_at", "updated_at", "at", "usage", "request_id", "token", "cursor", "position"}
    | {"lsn", "secret", "credential", "digest", "provenance_id"}
)


def told(value: Any, names: dict[str, str]) -> Any:
    """Returns what of a result is the same in every telling."""
    match value:
        case BaseModel():
            return told(value.model_dump(mode="json"), names)
        case dict():
            return {
                key: value[key] is not None if key in _DIFFERS else told(value[key], names)
                for key in value
            }
        case list() | tuple():
            return [told(each, names) for each in value]
        case float():
            return round(value, 4)
        case str():
            return _MINTED.sub(lambda found: names.setdefault(found[0], f"#{len(names)}"), value)
    return value


class Teller:
    """Tells the story and keeps the transcript."""

    def __init__(self, memos: MemOS) -> None:
        self.memos = memos
        self.transcript: list[tuple[str, Any]] = []
        self._names: dict[str, str] = {}

    def note(self, what: str, result: Any) -> None:
        """Puts a result on record."""
        self.transcript.append((what, told(result, self._names)))

    def refused(self, what: str, act: Callable[[], object]) -> None:
        """Puts on record how a call is refused."""
        try:
            result = act()
        except MemosError as error:
            # What is wrong with a form or a credential is said in the words of who looked first.
            detail = None if error.code in ("invalid_input", "unauthenticated") else str(error)
            self.note(what, [type(error).__name__, error.code, error.retryable, detail])
        else:
            self.note(what, ["not refused", result])

    def tell(self) -> list[tuple[str, Any]]:
        """Tells all of it."""
        for chapter in (
            self._writing,
            self._versions,
            self._searching,
            self._paging,
            self._the_end_of_memories,
            self._sharing,
            self._policy,
            self._ingesting,
            self._mistakes,
            self._the_log,
            self._the_records,
        ):
            chapter()
        return self.transcript

    def _writing(self) -> None:
        memos = self.memos
        self.note("whoami", memos.whoami())
        stored = memos.add(
            "Ana likes the sea.",
            tags=["likes"],
            speaker="Ana",
            event_time=datetime(2023, 5, 8, 13, 56, tzinfo=UTC),
            attributes={"mood": "good", "n": 3},
            half_life_s=3600.0,
        )
        self.note("add", stored)
        self.note("get", memos.get(stored.id or ""))
        report = memos.add(
            [
                "Bob likes the hills.",
                NewMemory(text="Carla likes trains.", id="carla-1"),
                {"text": "", "tags": ["likes"]},
                {"text": "again", "id": "carla-1"},
                {"text": "odd", "colour": "blue"},
            ],
            tags=["likes"],
        )
        self.note("add several", report)
        self.note("what failed", [one.error.code for one in report.failed if one.error])
        once = {"text": "only once", "idempotency_key": "once"}
        self.note("add once", memos.add(once))
        self.note("add once, again", memos.add(once))
        self.refused("another under its key", lambda: memos.add("x", idempotency_key="once"))
        self.refused("a taken id", lambda: memos.add("mine", id="carla-1"))

    def _versions(self) -> None:
        memos = self.memos
        stored = memos.add("The train leaves at 9:40.", tags=["travel"])
        self.first = stored.id or ""
        changed = memos.update(
            self.first, "The train leaves at 10:15.", mode="overwrite", expected_version=1
        )
        self.note("update", changed)
        self.refused("a stale version", lambda: memos.update(self.first, "x", expected_version=1))
        self.note("history", memos.history(self.first))
        self.note("diff", memos.diff(self.first, 1, 2))
        self.note("version 1", memos.get(self.first, version=1))
        self.refused("version 9", lambda: memos.get(self.first, version=9))
        # A version that is replaced before it is embedded never is, which the past would show.
        memos.search("trains", limit=1, wait_indexed=True)
        self.note("rollback", memos.rollback(self.first, 1, reason="the old timetable"))
        page = memos.history(self.first, limit=2)
        self.note("history, first page", page)
        self.note("history, next", memos.history(self.first, limit=2, cursor=page.cursor))
        self.note("freeze", memos.freeze(self.first, reason="settled"))
        self.refused("change it", lambda: memos.update(self.first, "no"))
        self.note("unfreeze", memos.unfreeze(self.first))

    def _searching(self) -> None:
        memos = self.memos
        found = memos.search("who likes the hills?", explain=True, wait_indexed=True, limit=3)
        self.note("search", found)
        assert all(
            abs(hit.score - sum(part.contribution for part in hit.signals)) < 1e-6
            for hit in found.hits
        )
        self.note("filtered", memos.search("likes", filter="tags:likes and not speaker:Ana"))
        self.note("tagged", memos.search(SearchQuery(query="train", tags=["travel"], limit=2)))
        since = datetime(2023, 5, 1, tzinfo=UTC)
        until = datetime(2023, 6, 1, tzinfo=UTC)
        self.note("in May 2023", memos.search("sea", since=since, until=until))
        self.note("no words", memos.search("", filter="tags:travel"))
        moment = memos.get(self.first, version=2).updated_at
        past = memos.search("when does the train leave?", as_of=moment, limit=1)
        self.note("as of then", past)
        assert [hit.memory.text for hit in past.hits] == ["The train leaves at 10:15."]

    def _paging(self) -> None:
        memos = self.memos
        memos.admin.create_namespace(f"{HOME}/pages", kind="user_private")
        place = f"{HOME}/pages"
        # Equal scores and equal times are ordered by id.
        memos.add(
            [{"text": f"page {n}: a lighthouse on a rock", "id": f"page-{n}"} for n in range(7)],
            place,
        )
        self.note("list", memos.list(place, limit=3))
        self.note("iterate", [memory.text for memory in memos.iterate(place, limit=3)])
        # The order of hits follows from what is embedded of them.
        memos.search("lighthouse", namespace=place, limit=1, wait_indexed=True)
        hits: list[str] = []
        cursor = None
        for _ in range(4):
            found = memos.search("lighthouse", namespace=place, limit=2, cursor=cursor)
            hits += [hit.memory.text for hit in found.hits]
            cursor = found.cursor
        self.note("search pages", [cursor, hits])
        both = memos.search("lighthouse or sea?", namespace=[HOME, place], limit=20)
        self.note("two namespaces", sorted(hit.memory.text for hit in both.hits))

    def _the_end_of_memories(self) -> None:
        memos = self.memos
        gone = memos.add("to be deleted").id or ""
        self.note("delete", memos.delete(gone, reason="old", expected_version=1))
        self.refused("update what is deleted", lambda: memos.update(gone, "x"))
        deleted = memos.list(include_deleted=True, filter="state:deleted")
        self.note("deleted", deleted)
        self.note("restore", memos.restore(gone))
        self.note("erase", memos.delete(gone, hard=True))
        for what, act in (
            ("get what is erased", lambda: memos.get(gone)),
            ("restore what is erased", lambda: memos.restore(gone)),
            ("its history", lambda: memos.history(gone)),
        ):
            self.refused(what, act)

    def _sharing(self) -> None:
        memos = self.memos
        planner = memos.as_principal("agent:planner")
        stranger = memos.as_principal("agent:stranger")
        shared = memos.add("The spare key hangs behind the blue door.").id or ""
        self.note("share", memos.share(shared, readers=["agent:planner"]))
        self.note("planner reads", planner.get(shared))
        found = planner.search("where is the spare key?", namespace=HOME)
        self.note("planner finds", [hit.memory.text for hit in found.hits])
        self.refused("planner changes it", lambda: planner.update(shared, "x"))
        self.refused("stranger reads", lambda: stranger.get(shared))
        self.note("stranger finds", stranger.search("spare key", namespace=HOME))
        self.note("share with nobody", memos.share(shared, remove=["agent:planner"]))
        self.refused("planner reads again", lambda: planner.get(shared))

    def _policy(self) -> None:
        memos, admin = self.memos, self.memos.admin
        planner = memos.as_principal("agent:planner")
        admin.create_namespace(f"{HOME}/team", kind="user_private", default_visibility="shared")
        team = memos.add("The team meets on Monday.", f"{HOME}/team").id or ""
        self.refused("planner before the grant", lambda: planner.get(team))
        given = admin.grant("agent:planner", ["read"], f"{HOME}/team")
        self.note("planner after the grant", planner.get(team))
        admin.revoke_grant(given.id)
        self.refused("planner after that", lambda: planner.get(team))
        issued = admin.issue_key("agent:planner", scopes=["read"], application="desk")
        narrowed = memos.with_key(issued.secret or "")
        self.note("a narrowed key", narrowed.whoami())
        self.refused("a write with it", lambda: narrowed.add("x"))
        successor = admin.rotate_key(issued.id)
        self.refused("the old key", narrowed.whoami)
        admin.expire_key(successor.id, datetime(2023, 5, 1, tzinfo=UTC))
        self.refused("an expired key", memos.with_key(successor.secret or "").whoami)
        third = admin.issue_key("agent:planner")
        admin.revoke_key(third.id)
        self.refused("a revoked key", memos.with_key(third.secret or "").whoami)
        self.refused("a role not held", memos.using(role="auditor").whoami)
        self.refused("administer", lambda: planner.admin.create_principal("agent:planner"))
        self.refused("a tenant", lambda: admin.create_tenant("mine"))
        self.refused("disable a tenant", lambda: admin.set_tenant("default", disabled=True))
        self.refused("no such grant", lambda: admin.revoke_grant("nothing"))
        documents = admin.documents(f"{HOME}/team")
        self.note("documents", [spec.name for spec in documents.namespaces])

    def _ingesting(self) -> None:
        memos = self.memos
        for name in ("chat", "notes", "paper", "events"):
            memos.admin.create_namespace(f"{HOME}/{name}", kind="user_private")
        chat: dict[str, Any] = {
            "source": "chat-7",
            "conversation": "chat-7",
            "namespace": f"{HOME}/chat",
        }
        self.note("a dialogue", memos.ingest(DIALOGUE, **chat))
        self.note("the same again", memos.ingest(DIALOGUE, **chat))
        notes = memos.ingest(MARKDOWN, name="trip.md", namespace=f"{HOME}/notes", tags=["imported"])
        self.note("Markdown", notes)
        pages = ["The first page is about otters.", "The second page is about herons."]
        paper = memos.ingest(minimal_pdf(pages), name="animals.pdf", namespace=f"{HOME}/paper")
        self.note("PDF", paper)
        found = memos.search("herons", namespace=f"{HOME}/paper", limit=1, wait_indexed=True)
        self.note("what it says of herons", found)
        lines = [
            json.dumps({"time": f"2023-05-01T10:{n:02}:00Z", "text": f"door {n} opened"}).encode()
            for n in range(50)
        ]
        lines[7] = b"{broken"
        events: dict[str, Any] = {
            "format": "events-jsonl",
            "source": "doors",
            "namespace": f"{HOME}/events",
        }
        seen: list[int] = []
        try:
            memos.ingest(_cut_off(lines, 33), batch=10, progress=seen.append, **events)
        except ConnectionError:
            self.note("cut off after", seen)
        resumed = memos.ingest(lines, batch=10, **events)
        self.note("resumed", [resumed.total, resumed.stored, resumed.replayed, resumed.failed])
        self.note("events", sum(1 for _ in memos.iterate(f"{HOME}/events")))
        self.refused("no format", lambda: memos.ingest(b"\x00\x01", name="a.xlsx"))
        self.refused("nothing", lambda: memos.ingest(b""))
        self.refused("no file", lambda: memos.ingest("/nowhere/at-all.md"))

    def _mistakes(self) -> None:
        memos = self.memos
        naive = datetime(2023, 5, 1)
        mistakes: dict[str, Callable[[], object]] = {
            "an empty text": lambda: memos.add(""),
            "a text too long": lambda: memos.add("x" * (1 << 20) + "x"),
            "an unknown field": lambda: memos.add("x", colour="blue"),
            "an id that is none": lambda: memos.get("not an id"),
            "an unknown id": lambda: memos.get("nothing-1"),
            "a namespace that is none": lambda: memos.list("a b"),
            "an unknown namespace": lambda: memos.add("x", "nowhere"),
            "a bad filter": lambda: memos.list(filter="tags:"),
            "another bad filter": lambda: memos.search("x", filter="colour:blue"),
            "a bad cursor": lambda: memos.list(cursor="nonsense"),
            "a bad token": lambda: memos.search("x", token="nonsense"),
            "no limit": lambda: memos.search("x", limit=0),
            "no page": lambda: memos.list(limit=0),
            "a naive time": lambda: memos.add("x", event_time=naive),
            "a naive past": lambda: memos.log(since=naive),
            "a version that is none": lambda: memos.rollback("nothing-1", 0),
            "two lifespans": lambda: memos.update("nothing-1", half_life_s=1, expires_at=naive),
            "sharing with no name": lambda: memos.share("nothing-1", readers=["bob"]),
            "an empty credential": lambda: memos.with_key("").whoami(),
            "an odd credential": lambda: memos.with_key("é").whoami(),
            "a purpose that is none": lambda: memos.using(purpose="ü"),
            "a principal that is none": lambda: memos.admin.create_principal("bob"),
            "a kind that is none": lambda: memos.admin.create_namespace("x", kind="nothing"),
        }
        for what, act in mistakes.items():
            self.refused(what, act)

    def _the_log(self) -> None:
        memos = self.memos
        page = memos.log(memory_id=self.first)
        self.note("log", [(one.operation, one.outcome, one.version) for one in page.entries])
        first = memos.log(limit=2)
        self.note("log, two pages", [first, memos.log(limit=2, cursor=first.cursor)])
        self.note("health", memos.health().status)

    def _the_records(self) -> None:
        memos = self.memos
        leaf = memos.add("Of the first one.", sources=[{"memory_id": self.first, "version": 1}])
        assert leaf.id is not None
        self.note("provenance", memos.provenance(leaf.id, direction="up"))
        self.refused("no direction", lambda: memos.provenance(self.first, direction="sideways"))
        memos.get(leaf.id)
        reads = memos.log(reads=True, memory_id=leaf.id, operation="get")
        self.note("reads", [(one.operation, one.memory_id) for one in reads.entries])
        everywhere = memos.log(everywhere=True, memory_id=leaf.id, outcome="done")
        self.note("everywhere", [one.operation for one in everywhere.entries])
        said = memos.feedback(memory=leaf.id, useful=True, note="Right.")
        self.note("feedback", list(said.worth.values()))
        self.refused("no opinion", lambda: memos.feedback(useful=True))
        self.note("evolving", memos.evolution.mode("propose").mode)
        self.note("evolved", memos.evolution.look().proposals)
        self.refused("no proposal", lambda: memos.evolution.undo("nothing-1"))


def _cut_off(lines: list[bytes], after: int) -> Iterator[bytes]:
    yield from lines[:after]
    raise ConnectionError("the input broke off")


def minimal_pdf(pages: list[str]) -> bytes:
    """Makes a PDF with one line of text on each page (ISO 32000, section 7.5)."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792]"
            f" /Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    body, offsets = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{each}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    body += f"xref\n0 {size}\n0000000000 65535 f \n{table}".encode()
    start = body.rindex(b"xref\n")
    return body + f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def main() -> None:
    """Tells the story to the cluster at a Ray address."""
    address, data, key = sys.argv[1:]
    from memos_ray import Settings

    settings = Settings(data=data)  # type: ignore[arg-type]
    with MemOS(address=address, api_key=key, settings=settings) as memos:
        sys.stdout.write(json.dumps(Teller(memos).tell()))


if __name__ == "__main__":
    main()
