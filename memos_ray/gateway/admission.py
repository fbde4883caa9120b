"""Who is let in, where tenants share a gateway: so many calls a second."""

from __future__ import annotations

from memos_ray.config import LimitSettings
from memos_ray.core.scheduling.fairness import RateLimits
from memos_ray.errors import OverloadedError
from memos_ray.ports import ClockPort


class CallRates:
    """Refuses what a tenant calls beyond its rate; nothing is refused where there is none.

    Each call of a service counts; an answer with memory is several: its search, its beginning, and
    what is learnt from it.
    """

    def __init__(self, limits: LimitSettings, clock: ClockPort) -> None:
        self._clock = clock
        self._limits: RateLimits | None = None
        if limits.tenant_calls_per_s is not None:
            self._limits = RateLimits(limits.tenant_calls_per_s, limits.tenant_burst)

    def check(self, tenant: str) -> None:
        """Lets a call pass.

        Raises:
            OverloadedError: the tenant calls too often; `retry_after_s` says when to come back.
        """
        if self._limits is None:
            return
        wait_s = self._limits.take(tenant, self._clock.monotonic())
        if wait_s:
            raise OverloadedError("this tenant calls too often", retry_after_s=wait_s)
