"""A model replica: prompts of conversations in, parts of answers out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from memos_ray.core.activation import EngineFingerprint, KvPayload, SourceVersion
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    GenerationPart,
    GenerationRequest,
    joined,
)
from memos_ray.errors import InvalidInputError
from memos_ray.ports import EnginePort, TokenizerPort


class ModelReplica:
    """One model with its tokenizer.

    A prompt is tokenised in two pieces, the shared beginning and the rest, whether or not there is
    a KV cache: so that the same text always gives the same tokens, and a cache always fits.
    """

    def __init__(self, engine: EnginePort, tokenizer: TokenizerPort, context_tokens: int) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Says which KV caches this replica can use."""
        return self._engine.fingerprint

    @property
    def healthy(self) -> bool:
        """Whether requests are still answered."""
        return self._engine.healthy

    async def chat(
        self, request: ChatRequest, kv: KvPayload | None = None
    ) -> AsyncIterator[GenerationPart]:
        """Yields an answer as it comes; leaving early cancels it.

        Raises:
            InvalidInputError: the conversation does not fit the model's template or context.
            UnavailableError: the engine is dead.
        """
        prompt = self._rendered if request.template else self._raw
        head, tail = await asyncio.to_thread(self._tokens, request.messages, request.shared, prompt)
        tokens = head + tail
        room = self._context_tokens - len(tokens)
        if room < 1:
            raise InvalidInputError(
                "the conversation is too long", tokens=len(tokens), limit=self._context_tokens
            )
        sampling = request.sampling
        if sampling.max_tokens > room:
            raise InvalidInputError(
                "the answer would not fit", tokens=len(tokens), limit=self._context_tokens
            )
        generation = GenerationRequest(request.id, tokens, sampling, request.salt, request.adapter)
        async for part in self._engine.generate(generation, kv):
            yield part

    async def build_kv(
        self,
        shared: str,
        *,
        salt: str,
        adapter: str = "",
        sources: tuple[SourceVersion, ...] = (),
    ) -> KvPayload:
        """Computes the KV cache of a prompt's shared beginning.

        Raises:
            InvalidInputError: it is shorter than a block, or too long.
            UnavailableError: the engine is dead, or was too busy.
        """
        messages = (ChatMessage("system", shared), ChatMessage("user", ""))
        head, _ = await asyncio.to_thread(self._tokens, messages, shared, self._rendered)
        return await self._engine.export_kv(head, salt=salt, adapter=adapter, sources=sources)

    async def forget(self) -> bool:
        """Empties the engine's own prefix cache; false while requests under way use it."""
        return await self._engine.forget()

    def close(self) -> None:
        """Ends the engine."""
        self._engine.close()

    def _tokens(
        self,
        messages: tuple[ChatMessage, ...],
        shared: str,
        prompt: Callable[[tuple[ChatMessage, ...]], str],
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shared = self._tokenizer.plain(shared)
        text = prompt(messages)
        # Where the template changes the text itself, nothing is shared.
        end = text.find(shared) + len(shared) if shared and shared in text else 0
        return self._tokenizer.encode(text[:end]), self._tokenizer.encode(text[end:])

    def _rendered(self, messages: tuple[ChatMessage, ...]) -> str:
        plain = self._tokenizer.plain
        return self._tokenizer.render(
            [ChatMessage(message.role, plain(message.text)) for message in messages]
        )

    def _raw(self, messages: tuple[ChatMessage, ...]) -> str:
        """The texts as they stand; only of what was put in front nothing is a control token."""
        plain = self._tokenizer.plain
        *before, prompt = messages
        text = joined([*(ChatMessage(one.role, plain(one.text)) for one in before), prompt])
        opening = self._tokenizer.opening
        return text if text.startswith(opening) else opening + text
