"""The replicas of this cluster's models, as holders of adapters."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from memos_ray.errors import UnavailableError
from memos_ray.serving.deployment import application_of

_ANSWER_S = 10.0


class ServedAdapters:
    """Implements `ports.AdapterReplicasPort`: each call goes to every replica of a model."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}

    async def drop(self, model: str, digest: str) -> bool:
        """Has every replica drop an adapter; see `AdapterReplicasPort`.

        Replicas that start meanwhile have nothing; those that have died neither.
        """
        try:
            living = await asyncio.to_thread(_living, model)
            if not living:
                return True
            if model not in self._handles:
                self._handles[model] = await asyncio.to_thread(
                    serve.get_app_handle, application_of(model)
                )
            response = self._handles[model].broadcast("drop_adapter", digest)
            async with asyncio.timeout(_ANSWER_S):
                answers: list[bool] = await response.results_async()
        except (RayError, RayServeException, TimeoutError) as error:
            raise UnavailableError(
                "not every replica has dropped the adapter", kind=type(error).__name__
            ) from None
        # Serve leaves those out that it cannot reach for a moment.
        if len(answers) < living:
            raise UnavailableError("not every replica answers", model=model, living=living)
        return all(answers)


def _living(model: str) -> int:
    """Returns how many replicas answer requests."""
    application = serve.status().applications.get(application_of(model))
    if application is None:
        return 0
    return sum(
        count
        for one in application.deployments.values()
        for state, count in one.replica_states.items()
        if state == "RUNNING"
    )
