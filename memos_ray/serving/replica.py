"""A model replica: prompts of conversations in, parts of answers out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from memos_ray.core.activation import EngineFingerprint, KvPayload, Refusal, SourceVersion
from memos_ray.core.generation import (
    ChatMessage,
    ChatRequest,
    GenerationPart,
    GenerationRequest,
    KvUse,
    TextPiece,
    joined,
)
from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.scheduling.routing import Recent
from memos_ray.errors import InvalidInputError, NotFoundError
from memos_ray.ports import EnginePort, TokenizerPort

ADAPTER_TOKENS = 256
"""What an adapter at hand is worth to the router: to load one takes as long as so many tokens."""

_RETIRED_MOST = 4096

AdapterSource = Callable[[], Awaitable[AdapterPayload | None]]
"""Fetches the weights of an adapter; nothing when they are lost."""


class ModelReplica:
    """One model with its tokenizer.

    A prompt is tokenised in pieces: what the conversation was computed as so far, or the shared
    beginning, and the rest; whether or not there is a KV cache, so that the same text always gives
    the same tokens, and a cache always fits.
    """

    def __init__(self, engine: EnginePort, tokenizer: TokenizerPort, context_tokens: int) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._served: Recent[int] = Recent()
        self._retired: OrderedDict[str, None] = OrderedDict()

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Says which KV caches this replica can use."""
        return self._engine.fingerprint

    @property
    def healthy(self) -> bool:
        """Whether requests are still answered."""
        return self._engine.healthy

    @property
    def held(self) -> Mapping[str, int]:
        """Tokens of what need not be computed or fetched again, by name: see `ChatRequest`."""
        adapters = dict.fromkeys(self._engine.adapters, ADAPTER_TOKENS)
        return {**self._served.all(), **self._engine.held, **adapters}

    async def chat(
        self,
        request: ChatRequest,
        kv: Sequence[KvPayload | None] = (),
        weights: AdapterSource | None = None,
    ) -> AsyncIterator[GenerationPart]:
        """Yields an answer as it comes; leaving early cancels it.

        Args:
            kv: see `EnginePort`; nothing in the place of one that was lost on the way.
            weights: asked only when the request's adapter is not at hand.

        Raises:
            InvalidInputError: the conversation does not fit the model's template or context, or the
                adapter does not fit the model; before the first part.
            NotFoundError: the adapter cannot be had; before the first part.
            UnavailableError: the engine is dead.
        """
        text, prompt = await asyncio.to_thread(self._prompt, request)
        tokens = tuple(token for piece in prompt for token in piece.tokens)
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
        there = [payload for payload in kv if payload is not None]
        held = self.held
        at_holder = any(name in held for name in request.places) if request.places else None
        answer = TextPiece("", ())
        async with self._using(request.adapter, weights):
            async for part in self._engine.generate(generation, there):
                if request.keep:
                    answer = TextPiece(answer.text + part.text, answer.tokens + part.tokens)
                if part.kv is not None:
                    lost = len(there) < len(kv)
                    use = replace(part.kv, refused=Refusal.LOST.value) if lost else part.kv
                    part = self._noted(part, use, request, at_holder)
                if part.finish is not None and request.keep:
                    spelt = await asyncio.to_thread(self._answered, request, text, answer)
                    part = replace(part, said=prompt + spelt)
                yield part

    async def build_kv(
        self,
        shared: str,
        *,
        salt: str,
        adapter: str = "",
        weights: AdapterSource | None = None,
        sources: tuple[SourceVersion, ...] = (),
    ) -> KvPayload:
        """Computes the KV cache of a prompt's shared beginning.

        Raises:
            InvalidInputError: it is shorter than a block, or too long.
            NotFoundError: the adapter cannot be had.
            UnavailableError: the engine is dead, or was too busy.
        """
        messages = (ChatMessage("system", shared), ChatMessage("user", ""))
        head = await asyncio.to_thread(self._head, messages, shared)
        return await self.export_kv(
            head.tokens, salt=salt, adapter=adapter, weights=weights, sources=sources
        )

    async def export_kv(
        self,
        tokens: tuple[int, ...],
        *,
        salt: str,
        adapter: str = "",
        weights: AdapterSource | None = None,
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
    ) -> KvPayload:
        """Computes the KV cache of a conversation; see `EnginePort.export_kv`."""
        async with self._using(adapter, weights):
            payload = await self._engine.export_kv(
                tokens, salt=salt, adapter=adapter, sources=sources, start=start
            )
        self._served.put(payload.manifest.name, payload.manifest.tokens)
        return payload

    async def drop_adapter(self, digest: str) -> bool:
        """Drops the weights of a retired adapter; see `EnginePort.drop_adapter`.

        A request that was sent before, and comes after, still ends with it: then it is dropped
        again.
        """
        self._retired[digest] = None
        self._retired.move_to_end(digest)
        if len(self._retired) > _RETIRED_MOST:
            self._retired.popitem(last=False)
        return await self._engine.drop_adapter(digest)

    async def forget(self) -> bool:
        """Empties the engine's own prefix cache; false while requests under way use it."""
        self._served.clear()
        return await self._engine.forget()

    def close(self) -> None:
        """Ends the engine."""
        self._engine.close()

    @asynccontextmanager
    async def _using(self, adapter: str, weights: AdapterSource | None) -> AsyncIterator[None]:
        try:
            await self._ready(adapter, weights)
            yield
        finally:
            if adapter in self._retired:
                await self._engine.drop_adapter(adapter)

    async def _ready(self, adapter: str, weights: AdapterSource | None) -> None:
        """Loads an adapter unless it is at hand; nothing is awaited once it is."""
        while adapter and adapter not in self._engine.adapters:
            payload = None if weights is None else await weights()
            if payload is None:
                raise NotFoundError("the adapter cannot be had", adapter=adapter)
            if payload.manifest.digest != adapter:
                raise InvalidInputError("the weights are of another adapter", adapter=adapter)
            # Many that come at once load it once.
            await self._engine.load_adapter(payload)

    def _noted(
        self, part: GenerationPart, use: KvUse, request: ChatRequest, at_holder: bool | None
    ) -> GenerationPart:
        lying = self._engine.held
        for name in request.affinity:
            if name not in lying:
                # From now on the whole prompt is in the engine's own prefix cache.
                self._served.put(name, use.prompt_tokens)
        return replace(part, kv=replace(use, at_holder=at_holder))

    def _prompt(self, request: ChatRequest) -> tuple[str, tuple[TextPiece, ...]]:
        """Returns a prompt's text, and the pieces that it is computed as."""
        text = (self._rendered if request.template else self._raw)(request.messages)
        head = self._head_text(text, request.shared)
        pieces: list[TextPiece] = []
        end = 0
        for piece in request.pieces:
            if not piece.text or not text.startswith(piece.text, end):
                break
            pieces.append(piece)
            end += len(piece.text)
        if end < len(head):
            # The cache of the shared beginning is worth more than that of a part of it.
            pieces, end = [self._piece(head)], len(head)
        if end < len(text):
            pieces.append(self._piece(text[end:]))
        return text, tuple(pieces)

    def _head(self, messages: Sequence[ChatMessage], shared: str) -> TextPiece:
        return self._piece(self._head_text(self._rendered(messages), shared))

    def _rendered(self, messages: Sequence[ChatMessage]) -> str:
        plain = self._tokenizer.plain
        return self._tokenizer.render(
            [ChatMessage(message.role, plain(message.text)) for message in messages]
        )

    def _raw(self, messages: Sequence[ChatMessage]) -> str:
        """The texts as they stand; only of what was put in front nothing is a control token."""
        plain = self._tokenizer.plain
        *before, prompt = messages
        text = joined([*(ChatMessage(one.role, plain(one.text)) for one in before), prompt])
        opening = self._tokenizer.opening
        return text if text.startswith(opening) else opening + text

    def _head_text(self, text: str, shared: str) -> str:
        shared = self._tokenizer.plain(shared)
        # Where the template changes the text itself, nothing is shared.
        end = text.find(shared) + len(shared) if shared and shared in text else 0
        return text[:end]

    def _piece(self, text: str) -> TextPiece:
        return TextPiece(text, self._tokenizer.encode(text))

    def _answered(
        self, request: ChatRequest, prompt: str, answer: TextPiece
    ) -> tuple[TextPiece, ...]:
        """Returns the answer as prompts to come will have it, or nothing when they would not."""
        tokens = self._spelling(answer)
        if tokens and not request.template:
            # What goes on with it has it as it stands.
            return (TextPiece(answer.text, tokens),)
        if not tokens or self._tokenizer.plain(answer.text) != answer.text:
            return ()
        messages = (*request.messages, ChatMessage("assistant", answer.text))
        try:
            text = self._rendered(messages)
        except InvalidInputError:
            # The template does not let the conversation go on.
            return ()
        place = text.find(answer.text, len(prompt))
        if not text.startswith(prompt) or place < 0 or text[len(prompt) : place].strip():
            return ()
        return (TextPiece(text[len(prompt) : place + len(answer.text)], tokens),)

    def _spelling(self, answer: TextPiece) -> tuple[int, ...]:
        """Returns those of an answer's tokens that spell its text: all, or all but a final one."""
        for tokens in (answer.tokens, answer.tokens[:-1]):
            # The first word's space is in the text or not, by the tokens before it.
            if self._tokenizer.decode(tokens).lstrip() == answer.text.lstrip():
                return tokens
        return ()
