"""Jobs: which memories are read together, and when one that failed is tried again. Pure.

queued ──▶ running ──▶ done: its memories are stored, its row is gone
  ▲ │         │
  │ │ no budget, or the model is away: it waits where it is
  │ │         │ failed
  └─┴─────────┤
              ▼ failed too often, or for good
            parked ──retry──▶ queued
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

import orjson

from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.cube.cube import MemCube
from memos_ray.core.cube.facets import from_micros, to_micros
from memos_ray.core.cube.identity import digest
from memos_ray.core.extraction.prompts import turn_tokens
from memos_ray.errors import StoreCorruptError

_ID_DIGITS = 24
_GROWTH_MOST = 20


@dataclass(frozen=True, slots=True)
class Marked:
    """A memory that is to be read: where the log has it, and with whose rights."""

    lsn: int
    context: CallContext
    cube: MemCube


@dataclass(frozen=True, slots=True)
class Job:
    """Some memories of one conversation that a model reads together. No content of them.

    Attributes:
        context: of who stored them; the job has those rights, as they are when it runs.
        source: what the memories come from, for people: a conversation or an address.
        ids: of the memories.
        last_lsn: of the newest of them, in the log.
        attempts: how often a model was asked.
        not_before: when to try again.
        parked: why nothing is tried any more: a code of `memos_ray.errors`, or `answer`.
    """

    id: str
    namespace: str
    context: CallContext
    source: str
    ids: tuple[str, ...]
    last_lsn: int
    attempts: int = 0
    not_before: datetime | None = None
    parked: str | None = None

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.context.principal.tenant

    @property
    def owner(self) -> str:
        """Who stored the memories."""
        return self.context.principal.id

    def key(self, place: int) -> str:
        """The idempotency key of what it stores, one by one."""
        return f"extraction:{self.id}:{place}"

    def to_bytes(self) -> bytes:
        """Encodes what no column holds."""
        context, principal = self.context, self.context.principal
        return orjson.dumps(
            {
                "principal": principal.id,
                "roles": principal.roles,
                "credential": principal.credential,
                "scopes": principal.scopes,
                "purpose": context.purpose,
                "role": context.role,
                "application": context.application,
                "request_id": context.request_id,
                "source": self.source,
                "ids": self.ids,
                "last_lsn": self.last_lsn,
                "attempts": self.attempts,
                "not_before": None if self.not_before is None else to_micros(self.not_before),
                "parked": self.parked,
            }
        )

    @classmethod
    def from_bytes(cls, id: str, tenant: str, namespace: str, body: bytes) -> Job:
        """Decodes `to_bytes`.

        Raises:
            StoreCorruptError: the bytes are none of a job.
        """
        try:
            held = orjson.loads(body)
            principal = Principal(
                tenant,
                held["principal"],
                tuple(held["roles"]),
                held["credential"],
                tuple(Action(scope) for scope in held["scopes"]),
            )
            context = CallContext(
                principal,
                held["purpose"],
                held["role"],
                held["application"],
                held["request_id"],
            ).aside()
            later = held["not_before"]
            return cls(
                id,
                namespace,
                context,
                held["source"],
                tuple(held["ids"]),
                held["last_lsn"],
                held["attempts"],
                None if later is None else from_micros(later),
                held["parked"],
            )
        except (ValueError, KeyError, TypeError):
            raise StoreCorruptError("a job of extraction cannot be read", job=id) from None


def jobs_of(marked: Iterable[Marked], most: int, tokens: int) -> Iterator[Job]:
    """Cuts memories into jobs: each of one namespace, owner and conversation, in its order.

    Args:
        most: memories of one job.
        tokens: of all of them together, unless it is one alone; estimated from above.
    """

    def place(one: Marked) -> tuple[str, ...]:
        setting = one.cube.descriptive.setting
        return (*_rights(one), one.cube.namespace, setting.conversation or "")

    def order(one: Marked) -> tuple[tuple[str, ...], int, int]:
        return place(one), one.cube.descriptive.setting.position or 0, one.lsn

    for _, group in groupby(sorted(marked, key=order), place):
        found: list[Marked] = []
        held = 0
        for one in group:
            size = turn_tokens(one.cube.text)
            if found and (len(found) == most or held + size > tokens):
                yield _job(found)
                found, held = [], 0
            found.append(one)
            held += size
        yield _job(found)


def retried(job: Job, code: str, limit: int, pause_s: float, now: datetime) -> Job:
    """Returns a job that has failed: to be tried again after a pause, or parked.

    Args:
        limit: attempts, at most.
    """
    if job.attempts >= limit:
        return replace(job, parked=code, not_before=None)
    return replace(job, not_before=now + timedelta(seconds=pause_s))


def pause_s(failures: int, least_s: float, most_s: float, dice: float) -> float:
    """Returns how long to wait after so many failures in a row: doubling, and jittered by half.

    Args:
        dice: a random number, `0 <= dice < 1`.
    """
    grown = least_s * 2.0 ** min(max(failures - 1, 0), _GROWTH_MOST)
    return float(min(grown, most_s) * (0.5 + dice))


def _rights(one: Marked) -> tuple[str, ...]:
    context, principal = one.context, one.context.principal
    parts = (principal.tenant, principal.id, principal.credential)
    circumstances = (context.purpose, context.role, context.application)
    return (*parts, *(part or "" for part in circumstances), *principal.roles, *principal.scopes)


def _job(found: Sequence[Marked]) -> Job:
    first = found[0].cube
    ids = tuple(one.cube.id for one in found)
    # An id may be given anew; its place in the log is not.
    placed = (f"{one.cube.id}@{one.lsn}".encode() for one in found)
    named = digest(b"memos-extraction-1", *placed)
    source = first.descriptive.setting.conversation
    if source is None:
        source = next((one.uri for one in first.descriptive.sources if one.uri), "")
    return Job(
        named[:_ID_DIGITS],
        first.namespace,
        found[0].context.aside(),
        source,
        ids,
        max(one.lsn for one in found),
    )
