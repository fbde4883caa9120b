"""Webhooks over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from memos_ray.core.pipeline.hooks import allowed
from memos_ray.errors import (
    DeadlineExceededError,
    InvalidInputError,
    PermissionDeniedError,
    UnavailableError,
)

_CONNECT_S = 5.0


class HttpHooks:
    """Posts to the places that the settings allow. Implements `ports.HookPort`.

    No redirect is followed, no proxy or credential of the environment is used, and nothing of the
    answer but its status is read.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self._places = tuple(places)

    def allows(self, url: str) -> bool:
        """Tells whether the settings allow a place; see `HookPort`."""
        return allowed(url, self._places)

    async def post(self, url: str, key: str, body: bytes, timeout_s: float) -> None:
        """Sends JSON; see `HookPort`."""
        if not self.allows(url):
            raise PermissionDeniedError("the settings allow no pipeline to publish there")
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
        try:
            async with (
                httpx.AsyncClient(timeout=timeout, trust_env=False) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except httpx.TimeoutException:
            raise DeadlineExceededError("the webhook did not answer in time") from None
        except httpx.TransportError:
            raise UnavailableError("the webhook does not answer") from None
        if 200 <= status < 300:
            return
        if status >= 500 or status == 429:
            raise UnavailableError("the webhook is away", status=status)
        raise InvalidInputError("the webhook refuses the message", status=status)
