"""Promotion as something that use suggests: what the policies say, proposed, done, taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from memos_ray.actors.activation.promoting import Promoter
from memos_ray.actors.parameter.parameter import ParameterMemory
from memos_ray.actors.policy.guard import PolicyGuard
from memos_ray.actors.vault.residency import Place
from memos_ray.core.access.context import Action, CallContext
from memos_ray.core.cube.payload import Form
from memos_ray.core.evolution import Evolved, promotion_of
from memos_ray.core.vault.requests import ConvertRequest
from memos_ray.errors import NotFoundError, PermissionDeniedError

_REASON = "evolution: promotion"


class Promotions:
    """Asks the promoter of KV caches, and the proposals of lessons: there are no other rules.

    What these would do by themselves is done by them, and not proposed again; what they do not do
    is: by the settings, or for want of a caller who may. Whoever accepts may convert or teach
    there, and read all of it.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        promoter: Promoter,
        parameter: ParameterMemory,
        *,
        guard: PolicyGuard,
        now: Callable[[], datetime],
    ) -> None:
        self._promoter = promoter
        self._parameter = parameter
        self._guard = guard
        self._now = now

    async def suggested(
        self, place: Place, context: CallContext
    ) -> tuple[list[Evolved], frozenset[tuple[str, Form]]]:
        """Returns what is suggested for a caller, and of which models and forms that is all."""
        tenant, namespace, now = place.tenant, place.namespace, self._now()
        found, decided = [], set()
        for one in await self._promoter.suggested(place, context):
            decided.add((one.model, Form.ACTIVATION))
            if one.wanted is not None:
                found.append(
                    promotion_of(
                        *(tenant, namespace, one.model, Form.ACTIVATION, one.sources),
                        *(one.wanted.reasons, now),
                    )
                )
        with suppress(NotFoundError, PermissionDeniedError):
            proposals = self._parameter.proposals
            for lesson in await proposals.list(place.partition, context, namespace):
                found.append(  # noqa: PERF401
                    promotion_of(
                        *(tenant, namespace, lesson.model, Form.PARAMETER, lesson.sources),
                        *(lesson.reasons, lesson.since, lesson.id),
                    )
                )
            decided |= {(model, Form.PARAMETER) for model in proposals.models}
        return found, frozenset(decided)

    async def carry_out(
        self, place: Place, context: CallContext, proposal: Evolved, minted_id: str
    ) -> tuple[str, int]:
        """Promotes, and returns the id and the version of the memory that stands for it.

        A lesson goes on behind that; its memory is there when it is over.

        Raises:
            MemosError: the caller may not, or it cannot be had any more.
        """
        if proposal.form is Form.PARAMETER:
            begun = await self._parameter.proposals.accept(
                place.partition, context, place.namespace, proposal.id, minted_id
            )
            return begun.id, 1
        ids = tuple(id for id, _ in proposal.sources)
        request = ConvertRequest(
            context,
            place.namespace,
            ids,
            proposal.model,
            minted_id,
            automatic=True,
            reason=_REASON,
        )
        written = await self._promoter.promote(place, request)
        return written.cube_id, written.version

    async def refuse(self, place: Place, context: CallContext, proposal: Evolved) -> None:
        """Has the policy not propose it again, where it remembers.

        Raises:
            PermissionDeniedError: the caller might not promote there either.
        """
        await self._require(place, context)
        if proposal.form is Form.PARAMETER:
            with suppress(NotFoundError):
                await self._parameter.proposals.refuse(
                    place.partition, context, place.namespace, proposal.id
                )

    async def stop(self, place: Place, context: CallContext, made: Sequence[str]) -> None:
        """Ends lessons that were begun; what they have led to is there to be deleted.

        Raises:
            NotFoundError, PermissionDeniedError: the caller might not promote there either.
        """
        await self._require(place, context)
        for id in made:
            with suppress(NotFoundError):
                await self._parameter.cancel_lesson(place.partition, context, place.namespace, id)

    async def _require(self, place: Place, context: CallContext) -> None:
        policy = await self._guard.ensure_for(context)
        policy.require_namespace(context, Action.CREATE, place.namespace, self._now())
