"""What must be read before a batch of writes is planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from memos_ray.core.cube.cube import MemCube
from memos_ray.core.vault.entries import mark_of
from memos_ray.core.vault.log import CubeKey, Reply
from memos_ray.core.vault.operations import Create, target_of
from memos_ray.core.vault.planning import Submission

Replies = Mapping[tuple[str, str, str], Reply]
"""Stored answers by (tenant, principal, key)."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be read before planning.

    Attributes:
        heads: cubes concerned.
        replies: idempotency keys by (tenant, principal).
        targets: (cube, number) of versions to go back to, see `target_of`.
    """

    heads: frozenset[CubeKey]
    replies: Mapping[tuple[str, str], tuple[str, ...]]
    targets: frozenset[tuple[CubeKey, int]]


def needs(submissions: Sequence[Submission], *, trust_minted: bool = True) -> Needs:
    """Collects what a batch of writes refers to.

    Args:
        trust_minted: a freshly minted id cannot be taken, so that only a chosen one, or a retry,
            needs the look-up.
    """
    heads: set[CubeKey] = set()
    targets: set[tuple[CubeKey, int]] = set()
    replies: dict[tuple[str, str], list[str]] = {}
    for submission in submissions:
        principal, write = submission.context.principal, submission.write
        key = CubeKey(principal.tenant, write.operation.cube_id)
        minted = isinstance(write.operation, Create) and write.operation.id is None
        if not (minted and trust_minted) or write.retried:
            heads.add(key)
        sources = [cube_id for cube_id, _ in write.derived_from]
        sources += write.learnt.ids if write.learnt else ()
        heads.update(CubeKey(principal.tenant, cube_id) for cube_id in sources)
        if (number := target_of(write.operation)) is not None:
            targets.add((key, number))
        if write.idempotency_key is not None:
            replies.setdefault((principal.tenant, principal.id), []).append(write.idempotency_key)
    return Needs(
        frozenset(heads),
        {scope: tuple(keys) for scope, keys in replies.items()},
        frozenset(targets),
    )


def stored_before(submissions: Sequence[Submission], replies: Replies) -> dict[CubeKey, str]:
    """Returns what is to be read by a model and was stored before, each with who stores it again.

    Args:
        replies: to the keys of the writes, as far as there are any.
    """
    found = {}
    for one in submissions:
        principal, key = one.context.principal, one.write.idempotency_key
        reply = replies.get((principal.tenant, principal.id, key or ""))
        if one.write.extract and reply is not None:
            cube_id = orjson.loads(reply.body)["cube_id"]
            found[CubeKey(principal.tenant, cube_id)] = principal.id
    return found


def marks_of(
    before: Mapping[CubeKey, str], heads: Mapping[CubeKey, MemCube]
) -> dict[tuple[str, str], list[str]]:
    """Returns under which keys the marks of these memories would be, by (tenant, scope)."""
    found: dict[tuple[str, str], list[str]] = {}
    for key, principal in before.items():
        if (head := heads.get(key)) is not None:
            scope, mark = mark_of(principal, key.id, head.version.lsn)
            found.setdefault((key.tenant, scope), []).append(mark)
    return found
