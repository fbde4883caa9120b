"""What reads memories for facts."""

from __future__ import annotations

from typing import Protocol

from memos_ray.core.extraction import ExtractionAnswer, ExtractionPrompt


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
