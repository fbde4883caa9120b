"""The model that extracts, asked within what tenants may spend and while it answers."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from memos_ray.actors.errands import Errands
from memos_ray.actors.extraction.purse import Purse
from memos_ray.config import ExtractionSettings
from memos_ray.core.extraction import ExtractionAnswer, ExtractionPrompt, pause_s
from memos_ray.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidInputError,
    MemosError,
    OverloadedError,
    PayloadTooLargeError,
    UnavailableError,
)
from memos_ray.ports import AllowancePort, ExtractorPort

BUDGET, AWAY = "budget", "model_away"
"""Why nothing is asked."""

_OF_THE_MODEL = (UnavailableError, ConfigurationError)
_log = logging.getLogger(__name__)


class PaidModel:
    """Asks a model for tenants, each within its budget.

    A model that is away is left alone for growing pauses; a tenant whose budget is spent waits for
    the next hour.

    Concurrency: runs on the actor's event loop.
    """

    def __init__(
        self,
        extractor: ExtractorPort,
        settings: ExtractionSettings,
        *,
        now: Callable[[], datetime],
        counters: Counter[str],
        allowances: AllowancePort | None = None,
    ) -> None:
        """Takes its parts.

        Args:
            allowances: whom to ask before a budget is spent; there is none without.

        Raises:
            ConfigurationError: there is a budget, and nobody to ask.
        """
        self._purse: Purse | None = None
        if settings.budget().limited:
            if allowances is None:
                raise ConfigurationError("nobody keeps the budgets of extraction")
            self._purse = Purse(allowances, now, counters)
        self._leaving = Errands("parts of budgets that were left")
        self._closing = False
        self._extractor = extractor
        self._settings = settings
        self._now = now
        self._counters = counters
        self._blocked: dict[str, datetime] = {}
        # What is asked beside extraction, by tenant.
        self._beside: Counter[str] = Counter()
        self._away_until: datetime | None = None
        self._away_times = 0

    @property
    def name(self) -> str:
        """Who reads."""
        return self._extractor.name

    @property
    def suspect(self) -> bool:
        """Whether the model was away when it was last asked: one question at a time tries it."""
        return self._away_until is not None

    def waits(self, tenant: str) -> str | None:
        """Says why nothing can be asked for a tenant now; nothing when it can."""
        now, blocked = self._now(), self._blocked.get(tenant)
        if self._away_until is not None and now < self._away_until:
            return AWAY
        return BUDGET if blocked is not None and now < blocked else None

    async def ask(
        self,
        tenant: str,
        prompt: ExtractionPrompt,
        begun: Callable[[], Awaitable[None]] | None = None,
    ) -> ExtractionAnswer | None:
        """Asks within the budget; returns nothing when there is none left now.

        Args:
            begun: writes down that it is asked.

        Raises:
            MemosError: what the model, or `begun`, has failed with.
        """
        until = None if self._purse is None else await self._purse.take(tenant, prompt.tokens)
        # Behind it: an hour may have begun with this very request.
        now = self._now()
        if until is not None:
            self._blocked = {one: at for one, at in self._blocked.items() if now < at}
            self._blocked[tenant] = until
            self._counters["extraction_budget_waits"] += 1
            _log.info("extraction waits for a budget until %s", until.isoformat())
            return None
        # Before it is asked: what kills this process on the way is an attempt, and has its price.
        if begun is not None:
            await begun()
        self._counters["extraction_requests"] += 1
        try:
            answer = await self._asked(prompt)
        except OverloadedError:
            self._settle(tenant, prompt.tokens, now)
            raise
        self._settle(tenant, prompt.tokens - answer.tokens, now)
        self._counters["extraction_tokens"] += answer.tokens
        return answer

    async def ask_if_free(
        self, tenant: str, prompt: ExtractionPrompt, reads: Callable[[], bool]
    ) -> ExtractionAnswer | None:
        """Asks what can wait: returns nothing at once where a budget or the model is away.

        Args:
            reads: whether something is to be read for the tenant, too: if nothing is, what is left
                of its budget is given back.
        """
        if self.waits(tenant):
            return None
        self._beside[tenant] += 1
        try:
            return await self.ask(tenant, prompt)
        finally:
            self._beside[tenant] -= 1
            if not self._beside[tenant]:
                del self._beside[tenant]
                if not reads():
                    self.leave(tenant)

    def pause(self, seconds: float) -> None:
        """Asks nothing for a while."""
        self._away_until = self._now() + timedelta(seconds=seconds)

    def pause_s(self, times: int, error: MemosError) -> float:
        """Returns how long to wait behind so many failures, the last one with an error."""
        chosen = self._settings
        wished = error.details.get("retry_after_s")
        least = float(wished) if isinstance(wished, int | float) else 0.0
        return max(least, pause_s(times, chosen.retry_min_s, chosen.retry_max_s, random.random()))

    def leave(self, tenant: str) -> None:
        """Gives back what is left of the budget of a tenant without work."""
        if self._purse is not None and not self._closing and tenant not in self._beside:
            self._leaving.leave(self._purse.leave(tenant))

    def closing(self) -> None:
        """Keeps what is left of budgets: the tasks that end now have not run out of work."""
        self._closing = True

    async def close(self) -> None:
        """Ends the connection."""
        await self._leaving.settle()
        await self._extractor.close()

    def _settle(self, tenant: str, tokens: int, at: datetime) -> None:
        if self._purse is not None:
            self._purse.settle(tenant, tokens, at)

    async def _asked(self, prompt: ExtractionPrompt) -> ExtractionAnswer:
        try:
            answer = await self._extractor.extract(prompt)
        except PayloadTooLargeError as error:
            raise InvalidInputError(error.message) from None
        except DeadlineExceededError:
            raise
        except _OF_THE_MODEL as error:
            self._away_times += 1
            self.pause(self.pause_s(self._away_times, error))
            self._counters["extraction_model_away"] += 1
            _log.warning("the model that extracts is away: %s", error.code)
            raise
        self._away_until, self._away_times = None, 0
        return answer
