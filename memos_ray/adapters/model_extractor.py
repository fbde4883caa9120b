"""A model of the settings as a reader: replicas of this cluster, or an endpoint elsewhere.

Both keep to the schema by themselves where they can: vLLM by guided decoding, an endpoint by
`response_format`. What they say is checked in any case.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from memos_ray.core.extraction import ExtractionAnswer, ExtractionPrompt
from memos_ray.core.generation import (
    ChatRequest,
    FinishReason,
    GenerationPart,
    KvUse,
    Sampling,
    estimated_tokens,
)
from memos_ray.errors import (
    DeadlineExceededError,
    InvalidInputError,
    PayloadTooLargeError,
    UnavailableError,
)
from memos_ray.ports import ModelPort

_BYTES_A_TOKEN = 16


class ModelExtractor:
    """Implements `memos_ray.ports.ExtractorPort`.

    Concurrency: methods run on one event loop.
    """

    def __init__(
        self,
        name: str,
        model: ModelPort,
        *,
        limit_s: float,
        structured: bool = True,
        temperature: float = 0.0,
    ) -> None:
        """Takes the model.

        Args:
            limit_s: longest time of one answer.
            structured: whether the schema goes with the request, beside the words of the prompt;
                some endpoints refuse it.
            temperature: see `Sampling`; some endpoints take only the default.
        """
        self._name = name
        self._model = model
        self._limit_s = limit_s
        self._structured = structured
        self._temperature = temperature

    @property
    def name(self) -> str:
        """See `ExtractorPort`."""
        return self._name

    async def extract(self, prompt: ExtractionPrompt) -> ExtractionAnswer:
        """See `ExtractorPort`."""
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._ask(prompt)
        except TimeoutError:
            raise DeadlineExceededError("the model took too long", model=self._name) from None

    async def close(self) -> None:
        """See `ExtractorPort`."""
        await self._model.close()

    async def _ask(self, prompt: ExtractionPrompt) -> ExtractionAnswer:
        sampling = Sampling(
            max_tokens=prompt.answer_tokens,
            temperature=self._temperature,
            json_schema=prompt.schema if self._structured else "",
        )
        request = ChatRequest(prompt.id, prompt.messages, sampling, prompt.salt)
        said: list[str] = []
        size, tokens, limit = 0, 0, _BYTES_A_TOKEN * prompt.answer_tokens
        last: GenerationPart | None = None
        async with aclosing(self._model.chat(request)) as parts:
            async for part in parts:
                said.append(part.text)
                size += len(part.text)
                tokens += len(part.tokens)
                if size > limit:
                    raise PayloadTooLargeError(
                        "the model's answer is too long", model=self._name, limit=limit
                    )
                last = part
        if last is None or last.finish is None:
            raise UnavailableError("the model's answer has no end", model=self._name)
        if last.finish is not FinishReason.STOP:
            raise InvalidInputError(
                "the model's answer was cut", model=self._name, reason=last.finish.value
            )
        text = "".join(said)
        use = last.kv or KvUse()
        return ExtractionAnswer(
            text,
            use.prompt_tokens or sum(estimated_tokens(one.text) for one in prompt.messages),
            last.answer_tokens or tokens or estimated_tokens(text),
        )
