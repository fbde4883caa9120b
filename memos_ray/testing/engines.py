"""An engine without a model, which obeys the same contract as a real one.

Its "attention" is a hash chain: the state of a token is a digest of the state before it and the
token. KV caches hold these states, so that a wrong cache gives a wrong answer here, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np

from memos_ray.core.activation import (
    Bytes,
    EngineFingerprint,
    KvGeometry,
    KvLayout,
    KvPayload,
    KvScope,
    ModelIdentity,
    PrefixChain,
    Refusal,
    SourceVersion,
)
from memos_ray.core.generation import (
    FinishReason,
    GenerationPart,
    GenerationRequest,
    KvUse,
)
from memos_ray.errors import InvalidInputError, UnavailableError
from memos_ray.serving.kv.desk import LocalDesk
from memos_ray.serving.kv.shelf import KvShelf

DEADLY_SEED = 13
_STATE_BYTES = 32
_GEOMETRY = KvGeometry(layers=1, kv_heads=1, head_dim=32)
# One token's keys and values: float32, as in a real cache; the state is in the first key.
_TOKEN_BYTES = 2 * 32 * 4


@dataclass(slots=True)
class HashingEngine:
    """Implements `memos_ray.ports.EnginePort`.

    Attributes:
        model: another name is another model, whose caches do not fit.
        vocabulary: tokens are below it.
        context_tokens: longest prompt and answer.
        step_s: time that each token of an answer takes.
    """

    model: str = "hashing"
    vocabulary: int = 1000
    context_tokens: int = 2048
    step_s: float = 0.0
    shelf_bytes: int = 64 << 20
    _desk: LocalDesk = field(default_factory=LocalDesk)
    _shelf: KvShelf = field(init=False)
    _seen: set[bytes] = field(default_factory=set)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._shelf = KvShelf(self._desk, self.fingerprint, 4, self.shelf_bytes)

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Says which KV caches this engine can read."""
        identity = ModelIdentity(self.model, self.model, "float32", _GEOMETRY)
        return EngineFingerprint(identity, "hashing-1", "hashing-split-last", 32)

    @property
    def healthy(self) -> bool:
        """Whether requests are still answered."""
        return not self._closed

    @property
    def held(self) -> dict[str, int]:
        """Tokens of the KV caches at hand, by name."""
        return self._shelf.held

    async def generate(
        self, request: GenerationRequest, kv: KvPayload | None = None
    ) -> AsyncIterator[GenerationPart]:
        """See `EnginePort`."""
        self._check(request)
        if kv is None:
            async for part in self._answer(request, None, KvUse()):
                yield part
            return
        with self._shelf.using(kv) as name:
            refused = name if isinstance(name, Refusal) else self._refusal(request, kv)
            payload = None if refused else self._desk.look(str(name), 0)
            known = self._known(request)
            loaded = 0 if refused else max(0, kv.manifest.tokens - known)
            use = KvUse(loaded_tokens=loaded, refused=refused.value if refused else None)
            async for part in self._answer(request, payload if loaded else None, use):
                yield part

    async def export_kv(
        self,
        tokens: tuple[int, ...],
        *,
        salt: str,
        adapter: str = "",
        sources: tuple[SourceVersion, ...] = (),
    ) -> KvPayload:
        """See `EnginePort`."""
        if self._closed:
            raise UnavailableError("the engine is dead")
        block = self.fingerprint.block_tokens
        whole = len(tokens) // block * block
        if not whole:
            raise InvalidInputError("the text is shorter than a KV block", block_tokens=block)
        states = _states(b"", tokens[:whole])
        rows = np.zeros((whole, _TOKEN_BYTES), np.uint8)
        rows[:, :_STATE_BYTES] = np.frombuffer(b"".join(states), np.uint8).reshape(whole, -1)
        model = self.fingerprint.model.digest
        key = PrefixChain(KvScope(model, salt, adapter), tokens[:whole]).key(whole)
        assert key is not None
        return KvPayload.seal(
            [rows.reshape(-1)],
            key=key,
            tokens=whole,
            model=model,
            engine=self.fingerprint.digest,
            layout=KvLayout.OPAQUE,
            sources=sources,
        )

    async def forget(self) -> bool:
        """See `EnginePort`."""
        self._seen.clear()
        return True

    def close(self) -> None:
        """See `EnginePort`."""
        self._closed = True

    async def _answer(
        self, request: GenerationRequest, payload: Bytes | None, use: KvUse
    ) -> AsyncIterator[GenerationPart]:
        known = self._known(request)
        cached = known + use.loaded_tokens
        state = b""
        if payload is not None:
            last = payload.reshape(-1, _TOKEN_BYTES)[cached - 1]
            state = last[:_STATE_BYTES].tobytes()
        rest = request.tokens[cached:] if payload is not None else request.tokens
        state = _states(state, rest)[-1]
        self._learn(request)
        for number in range(request.sampling.max_tokens):
            await asyncio.sleep(self.step_s)
            if self._closed:
                raise UnavailableError("the engine has died")
            token = int.from_bytes(state[:4], "big") % self.vocabulary
            state = _states(state, (token,))[-1]
            last_one = number + 1 == request.sampling.max_tokens
            yield GenerationPart(
                f"{token} ",
                (token,),
                FinishReason.LENGTH if last_one else None,
                replace(use, prompt_tokens=len(request.tokens), cached_tokens=cached)
                if last_one
                else None,
            )

    def _check(self, request: GenerationRequest) -> None:
        if self._closed:
            raise UnavailableError("the engine is dead")
        if not request.tokens:
            raise InvalidInputError("the prompt is empty")
        if len(request.tokens) >= self.context_tokens:
            raise InvalidInputError(
                "the prompt is too long", tokens=len(request.tokens), limit=self.context_tokens
            )
        if request.sampling.temperature < 0:
            raise InvalidInputError("the temperature is negative")

    def _refusal(self, request: GenerationRequest, kv: KvPayload) -> Refusal | None:
        tokens = kv.manifest.tokens
        if tokens >= len(request.tokens):
            return Refusal.TOKENS
        scope = KvScope(self.fingerprint.model.digest, request.salt, request.adapter)
        key = PrefixChain(scope, request.tokens[:tokens]).key(tokens)
        return None if key == kv.manifest.key else Refusal.KEY

    def _known(self, request: GenerationRequest) -> int:
        """Counts the tokens that the engine's own prefix cache has, in whole blocks."""
        block = self.fingerprint.block_tokens
        known = 0
        for end in range(block, len(request.tokens), block):
            if self._prefix(request, end) not in self._seen:
                break
            known = end
        return known

    def _learn(self, request: GenerationRequest) -> None:
        block = self.fingerprint.block_tokens
        for end in range(block, len(request.tokens) + 1, block):
            self._seen.add(self._prefix(request, end))

    def _prefix(self, request: GenerationRequest, end: int) -> bytes:
        return blake2b(
            repr((request.salt, request.adapter, request.tokens[:end])).encode()
        ).digest()


def _states(state: bytes, tokens: tuple[int, ...]) -> list[bytes]:
    states = []
    for token in tokens:
        state = blake2b(state + token.to_bytes(4, "big"), digest_size=_STATE_BYTES).digest()
        states.append(state)
    return states


class MortalEngine(HashingEngine):
    """Dies of a request with the seed `DEADLY_SEED`."""

    def _check(self, request: GenerationRequest) -> None:
        if request.sampling.seed == DEADLY_SEED:
            self.close()
        super()._check(request)


def mortal_engine() -> MortalEngine:
    """Makes a slow engine that one request is enough to end."""
    return MortalEngine(step_s=0.05)


def slow_engine() -> HashingEngine:
    """Makes an engine whose answers can be caught in the middle."""
    return HashingEngine(step_s=0.05)
