"""Models without weights, for tests of everything in front of a model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from memos_ray.core.generation import (
    ChatRequest,
    FinishReason,
    GenerationPart,
    KvUse,
)
from memos_ray.errors import MemosError


@dataclass(slots=True)
class QuotingModel:
    """Answers with its own prompt, word by word. Implements `memos_ray.ports.ModelPort`.

    Attributes:
        requests: all that it was asked.
        cancelled: how many answers were left early.
        error: raised after so many words, given as (words, error).
    """

    requests: list[ChatRequest] = field(default_factory=list)
    cancelled: int = 0
    error: tuple[int, MemosError] | None = None

    async def chat(
        self, request: ChatRequest, kv: Sequence[object] = ()
    ) -> AsyncGenerator[GenerationPart, None]:
        """Yields the prompt's words, up to `max_tokens` of them."""
        self.requests.append(request)
        words = " ".join(message.text for message in request.messages).split()
        said = words[: request.sampling.max_tokens]
        ended = False
        try:
            for number, word in enumerate(said, start=1):
                if self.error is not None and number > self.error[0]:
                    raise self.error[1]
                ended = number == len(said)
                finish = FinishReason.LENGTH if len(said) < len(words) else FinishReason.STOP
                yield GenerationPart(
                    f"{word} ",
                    (number,),
                    finish if ended else None,
                    KvUse(prompt_tokens=len(words)) if ended else None,
                )
        finally:
            if not ended:
                self.cancelled += 1
