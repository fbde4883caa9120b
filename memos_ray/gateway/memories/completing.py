"""Asks a model for questions in full, within a bounded time, and does without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from uuid import uuid4

from memos_ray.config import DialogueSettings
from memos_ray.core.extraction import ExtractionPrompt
from memos_ray.core.reader.turns import Objection, Rewriting, Turn, completed, messages_of
from memos_ray.core.reader.turns.asked import ANSWER_SCHEMA
from memos_ray.errors import DeadlineExceededError, InvalidInputError, MemosError
from memos_ray.ports import ClockPort, ExtractorPort


class Attempt(StrEnum):
    """What became of asking a model; but for `USED`, the rules have completed the question."""

    USED = "used"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    LATE = "late"
    AWAY = "away"
    BUSY = "busy"


@dataclass(slots=True)
class Completing:
    """A model that completes questions.

    Whatever it says is checked (`completed`): no word of content comes in that was not said. A
    model that was late or away is left alone for a while, so that not every search waits for it.

    Concurrency: runs on one event loop; `settings.at_once` questions at a time, others are not
    asked.
    """

    extractor: ExtractorPort
    settings: DialogueSettings
    clock: ClockPort
    _asked: int = 0
    _away_until: float = field(default=float("-inf"))

    async def complete(
        self, tenant: str, question: str, turns: Sequence[Turn], rules: Rewriting
    ) -> tuple[Rewriting, Attempt]:
        """Returns a question in full.

        Args:
            rules: what the rules make of it, which holds when the model does not do better.
        """
        if self._asked >= self.settings.at_once:
            return rules, Attempt.BUSY
        if self.clock.monotonic() < self._away_until:
            return rules, Attempt.AWAY
        self._asked += 1
        try:
            async with asyncio.timeout(self.settings.answer_s):
                answer = await self.extractor.extract(self._prompt(tenant, question, turns))
        except (TimeoutError, DeadlineExceededError):
            return rules, self._left_alone(Attempt.LATE)
        except InvalidInputError:
            return rules, Attempt.REFUSED
        except MemosError:
            return rules, self._left_alone(Attempt.AWAY)
        finally:
            self._asked -= 1
        found = completed(answer.text, question, turns)
        if isinstance(found, Objection):
            return rules, Attempt.REFUSED
        return (found, Attempt.USED) if found.filled else (rules, Attempt.UNCHANGED)

    def _left_alone(self, attempt: Attempt) -> Attempt:
        self._away_until = self.clock.monotonic() + self.settings.pause_s
        return attempt

    def _prompt(self, tenant: str, question: str, turns: Sequence[Turn]) -> ExtractionPrompt:
        salt = blake2b(f"dialogue {tenant}".encode(), digest_size=16).hexdigest()
        messages = messages_of(question, turns)
        return ExtractionPrompt(
            uuid4().hex, messages, ANSWER_SCHEMA, salt, self.settings.answer_tokens
        )
