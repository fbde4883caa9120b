"""The real order in which questions of a file of conversations need its parts."""

from __future__ import annotations

from collections import defaultdict
from itertools import zip_longest
from typing import Any

from benchmarks.scheduler.traces import Item, Step, Trace, cached
from memos_ray.core.generation import estimated_tokens
from memos_ray.core.reader.dialogue import parse_conversations
from memos_ray.core.reader.questions import read_questions
from memos_ray.core.retrieval import IndexedMemory, ResidentIndex
from memos_ray.core.scheduling.working_set import CoUse, Foresight, WorkingSet

_PAUSE_S = 30.0
PRELOADED = 64
"""Memories that are loaded for the next turn: about 2,000 tokens of LoCoMo."""


def trace_of(content: bytes) -> Trace:
    """Returns a trace: each session of a conversation is an item, the one that a question is about
    is wanted. Every conversation is a user; they ask in turn, each in the order of the file."""
    users: list[list[Item]] = []
    for name, turns, asked in _conversations(content):
        sessions = _sessions(name, turns)
        users.append([item for gold in asked for item in _wanted(gold, sessions)])
    steps: Trace = []
    for round_ in zip_longest(*users):
        for item in round_:
            if item is not None:
                steps.append(Step(len(steps) * _PAUSE_S / max(len(users), 1), item))
    return steps


def preloading(
    content: bytes, limit: int = PRELOADED, foresight: Foresight | None = None
) -> dict[str, float]:
    """Measures how often what a question needs was loaded before it was asked.

    Each question's gold turns count as used once it is answered. A shard forecasts by the same
    classes; who stands beside whom is asked of a resident index, as there.

    Returns:
        `hit_rate` of the forecast, and `last_used_rate` of as many memories that were used last.
    """
    needed = hits = lasting = memories = 0
    for name, turns, asked in _conversations(content):
        memories += len(turns)
        session = WorkingSet(_index(name, turns).beside, CoUse(), foresight)
        last: dict[str, None] = {}
        for gold in asked:
            needed += len(gold)
            hits += len(set(session.next_turn(limit)).intersection(gold))
            lasting += len(set(list(last)[-limit:]).intersection(gold))
            session.note(gold)
            for one in gold:
                last.pop(one, None)
                last[one] = None
    return {
        "hit_rate": round(hits / max(needed, 1), 3),
        "last_used_rate": round(lasting / max(needed, 1), 3),
        "memories_loaded": limit,
        "memories": memories,
        "needed": needed,
    }


def _index(name: str, turns: list[dict[str, Any]]) -> ResidentIndex:
    index = ResidentIndex(1)
    index.upsert(
        [
            IndexedMemory(
                str(turn["id"]),
                str(turn.get("text") or ""),
                {
                    "conversation": name,
                    "session": str(turn.get("session") or ""),
                    "position": place,
                },
            )
            for place, turn in enumerate(turns)
        ]
    )
    return index


def _conversations(content: bytes) -> list[tuple[str, list[dict[str, Any]], list[tuple[str, ...]]]]:
    gold: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for question in read_questions(content):
        if question.gold:
            gold[question.conversation].append(question.gold)
    found = []
    for number, one in enumerate(parse_conversations(content), 1):
        name = one.id or f"conversation-{number}"
        turns = [turn for turn in one.turns if isinstance(turn, dict)]
        found.append((name, turns, gold[name]))
    return found


def _sessions(name: str, turns: list[dict[str, Any]]) -> dict[str, Item]:
    """Returns the session of each turn, as an item."""
    tokens: defaultdict[str, int] = defaultdict(int)
    of_turn = {str(turn["id"]): str(turn.get("session") or "") for turn in turns}
    for turn in turns:
        tokens[str(turn.get("session") or "")] += estimated_tokens(str(turn.get("text") or ""))
    items = {
        session: cached(f"{name}/{session}", "shared", place, max(count, 1))
        for place, (session, count) in enumerate(tokens.items())
    }
    return {turn: items[session] for turn, session in of_turn.items()}


def _wanted(gold: tuple[str, ...], sessions: dict[str, Item]) -> list[Item]:
    return list({sessions[one].id: sessions[one] for one in gold if one in sessions}.values())
