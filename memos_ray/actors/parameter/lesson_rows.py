"""Lessons at rest, as rows of the record store: who asked for what, and how it went.

No text of a memory and no secret of a caller: a credential is named by its id, and whether it is
still worth anything is judged when the lesson goes on. Questions that a model has written about the
memories are there as long as the lesson is under way, and go with the same write that ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import Action, CallContext, Principal
from memos_ray.core.activation import SourceVersion
from memos_ray.core.parameter import TeachingState
from memos_ray.core.vault.requests import TeachRequest
from memos_ray.ports import Derivation, Wordings

KIND = "lesson"


@dataclass(frozen=True, slots=True)
class LessonRecord:
    """A lesson that was begun and has not led to an adapter.

    Attributes:
        given: whether the adapter is made of something that went with the shard that was asked, so
            that nobody can go on with the lesson.
        attempts: how many shards have worked on it.
        through: activation memories whose sources are learnt.
        wordings: see `TrainingSpec`.
    """

    place: Place
    request: TeachRequest
    sources: tuple[SourceVersion, ...]
    given: bool
    state: TeachingState
    reason: str | None
    attempts: int
    through: tuple[SourceVersion, ...] = ()
    wordings: Wordings | None = None


def row_of(lesson: LessonRecord) -> Derivation:
    """Returns the row of a lesson."""
    request, context = lesson.request, lesson.request.context
    principal = context.principal
    body = orjson.dumps(
        {
            "model": request.model,
            "ids": request.ids,
            "reason": request.reason,
            "principal": principal.id,
            "roles": principal.roles,
            "credential": principal.credential,
            "scopes": principal.scopes,
            "purpose": context.purpose,
            "role": context.role,
            "application": context.application,
            "request_id": context.request_id,
            "policy": context.policy,
            "automatic": request.automatic,
            "sources": _listed(lesson.sources),
            "through": _listed(lesson.through),
            "given": lesson.given,
            "state": lesson.state.value,
            "why": lesson.reason,
            "attempts": lesson.attempts,
            **_worded(lesson.wordings),
        }
    )
    place = lesson.place
    return Derivation(place.tenant, KIND, request.minted_id, place.namespace, "", 0, body)


def lesson_of(partition: int, row: Derivation) -> LessonRecord:
    """Rebuilds a lesson from its row."""
    body = orjson.loads(row.body)
    principal = Principal(
        row.tenant,
        body["principal"],
        tuple(body["roles"]),
        body["credential"],
        tuple(Action(scope) for scope in body["scopes"]),
    )
    context = CallContext(
        principal,
        body["purpose"],
        body["role"],
        body["application"],
        body["request_id"],
        body["policy"],
    )
    return LessonRecord(
        Place(partition, row.tenant, row.namespace),
        TeachRequest(
            context,
            row.namespace,
            tuple(body["ids"]),
            body["model"],
            row.name,
            body["reason"],
            automatic=body.get("automatic", False),
        ),
        _versions(body["sources"]),
        body["given"],
        TeachingState(body["state"]),
        body["why"],
        body["attempts"],
        _versions(body.get("through", ())),
        _wordings(body),
    )


def _worded(wordings: Wordings | None) -> dict[str, Any]:
    if wordings is None:
        return {}
    questions = [
        [source.cube_id, source.version, several] for source, several in wordings.questions.items()
    ]
    return {"wordings": questions, "said": wordings.said}


def _wordings(body: dict[str, Any]) -> Wordings | None:
    if "wordings" not in body:
        return None
    questions = {
        SourceVersion(cube_id, version): tuple(several)
        for cube_id, version, several in body["wordings"]
    }
    return Wordings(questions, body["said"])


def _listed(sources: Sequence[SourceVersion]) -> list[list[str | int]]:
    return [[source.cube_id, source.version] for source in sources]


def _versions(listed: Sequence[tuple[str, int]]) -> tuple[SourceVersion, ...]:
    return tuple(SourceVersion(cube_id, version) for cube_id, version in listed)
