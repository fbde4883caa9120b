"""What reads memories for facts, and what it may cost."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from memos_ray.core.extraction import Allowance, ExtractionAnswer, ExtractionPrompt


class ExtractorPort(Protocol):
    """A model that answers in the form that a prompt asks for, or tries to."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    async def extract(self, prompt: ExtractionPrompt) -> ExtractionAnswer:
        """Asks once; what is said may be anything.

        Raises:
            InvalidInputError: the model refuses the prompt for good, or its answer was cut.
            PayloadTooLargeError: the answer is longer than any that could be read.
            OverloadedError: later, in `retry_after_s` if that is known.
            DeadlineExceededError: the answer took too long.
            UnavailableError: the model is away.
            ConfigurationError: the model refuses this service.
        """
        ...

    async def close(self) -> None:
        """Lets go of what this process holds of the model."""
        ...


class AllowancePort(Protocol):
    """The accounts of what tenants spend in an hour, one for the whole cluster."""

    async def allow(self, tenant: str, tokens: int) -> Allowance | datetime:
        """Allows a part of a tenant's budget that suffices for a request of so many tokens.

        It counts as spent from now on. Returns when to ask again where there is no such part.

        Raises:
            UnavailableError: nobody can say now; nothing may be spent.
        """
        ...

    async def give_back(self, tenant: str, left: Allowance) -> None:
        """Takes back what was allowed and not spent; not to be repeated.

        Raises:
            UnavailableError: it may have been taken back or not.
        """
        ...
