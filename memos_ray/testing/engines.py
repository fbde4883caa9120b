"""An engine without a model, which obeys the same contract as a real one.

The state of a token is a digest of the state before it and the token; its "attention" is a digest
of all states. KV caches hold these states, so that any wrong one gives a wrong answer here, too.
States begin with a digest of the weights of the adapter in use, which must be in a slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from memos_ray.core.activation import (
    EngineFingerprint,
    KvGeometry,
    KvMatch,
    KvPayload,
    KvPiece,
    KvScope,
    KvSegment,
    ModelIdentity,
    PrefixChain,
    Refusal,
    SourceVersion,
    match,
    refusals,
    run,
    whole_blocks,
)
from memos_ray.core.generation import (
    FinishReason,
    GenerationPart,
    GenerationRequest,
    KvUse,
    check_prompt,
)
from memos_ray.core.parameter import AdapterLimits, AdapterPayload
from memos_ray.errors import InvalidInputError, UnavailableError
from memos_ray.serving.kv.desk import LocalDesk
from memos_ray.serving.kv.shelf import KvShelf
from memos_ray.serving.lora.rack import AdapterRack

DEADLY_SEED = 13
_STATE_BYTES = 32
_GEOMETRY = KvGeometry(layers=1, kv_heads=1, head_dim=32)
# One token's keys and values: float32, as in a real cache; the state is in the first key.
_TOKEN_BYTES = 2 * 32 * 4
HASHING_SHAPES = {"layers.0.q_proj": (32, 32), "layers.0.o_proj": (32, 64)}
"""The layers that adapters of this engine may change; nothing is computed with them."""

# Answers are visible ASCII, with the tokens that `random_models` has for it.
_FIRST, _LETTERS = 3, "".join(map(chr, range(ord("!"), ord("~") + 1)))


@dataclass(slots=True)
class _Slots:
    """Adapters as digests of their weights. Implements `AdapterCarrier`."""

    held: dict[int, bytes] = field(default_factory=dict)
    placed: tuple[int, ...] = ()

    async def hold(self, number: int, payload: AdapterPayload) -> None:
        self.held[number] = blake2b(payload.data.data, digest_size=_STATE_BYTES).digest()

    async def place(self, numbers: tuple[int, ...]) -> None:
        self.placed = numbers

    async def drop(self, number: int) -> None:
        del self.held[number]

    def weights(self, number: int) -> bytes:
        if number not in self.placed:
            raise RuntimeError("the adapter has no slot")
        return self.held[number]


@dataclass(slots=True)
class HashingEngine:
    """Implements `memos_ray.ports.EnginePort`.

    Attributes:
        model: another name is another model, whose caches do not fit.
        context_tokens: longest prompt and answer.
        step_s: time that each token of an answer takes.
        adapter_slots: LoRA adapters at once.
    """

    model: str = "hashing"
    context_tokens: int = 2048
    step_s: float = 0.0
    shelf_bytes: int = 64 << 20
    adapter_slots: int = 4
    adapter_rank_max: int = 16
    adapter_host_bytes: int = 64 << 20
    _slots: _Slots = field(default_factory=_Slots)
    _rack: AdapterRack = field(init=False)
    _desk: LocalDesk = field(default_factory=LocalDesk)
    _shelf: KvShelf = field(init=False)
    _seen: set[str] = field(default_factory=set)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._shelf = KvShelf(self._desk, self.fingerprint, 4, self.shelf_bytes)
        limits = AdapterLimits(
            base=self.fingerprint.model.weights,
            shapes=HASHING_SHAPES,
            rank_max=self.adapter_rank_max,
            bytes_max=self.adapter_host_bytes,
        )
        self._rack = AdapterRack(self._slots, limits, self.adapter_slots, self.adapter_host_bytes)

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

    @property
    def adapters(self) -> dict[str, bool]:
        """The adapters at hand, by digest, and whether each is pinned."""
        return self._rack.held

    async def load_adapter(self, payload: AdapterPayload, *, pinned: bool = False) -> None:
        """See `EnginePort`."""
        if self._closed:
            raise UnavailableError("the engine is dead")
        await self._rack.load(payload, pinned=pinned)

    async def drop_adapter(self, digest: str) -> bool:
        """See `EnginePort`."""
        return await self._rack.drop(digest)

    async def generate(
        self, request: GenerationRequest, kv: Sequence[KvPayload] = ()
    ) -> AsyncGenerator[GenerationPart, None]:
        """See `EnginePort`."""
        if self._closed:
            raise UnavailableError("the engine is dead")
        check_prompt(request.tokens, self.context_tokens)
        if request.sampling.temperature < 0:
            raise InvalidInputError("the temperature is negative")
        async with self._using(request.adapter) as seed:
            async with aclosing(self._generate(request, kv, seed)) as parts:
                async for part in parts:
                    yield part

    async def _generate(
        self, request: GenerationRequest, kv: Sequence[KvPayload], seed: list[bytes]
    ) -> AsyncGenerator[GenerationPart, None]:
        scope = KvScope(self.fingerprint.model.digest, request.salt, request.adapter)
        chain = PrefixChain(scope, request.tokens)
        with self._shelf.using(kv) as names:
            matches = []
            for name, payload in zip(names, kv, strict=True):
                segment = KvSegment.of(payload.manifest)
                if isinstance(name, Refusal):
                    matches.append(KvMatch(segment, segment.start, name))
                else:
                    matches.append(match(segment, chain, len(request.tokens), self._block))
            known = self._known(chain, len(request.tokens))
            pieces = run(matches, known)
            end = pieces[-1].end if pieces else known
            states = _states(seed, request.tokens[:known])
            for piece in pieces:
                states += self._loaded(piece)
            states = _states(states, request.tokens[end:])
            self._learn(chain, len(request.tokens))
            refused = next((why.value for _, why in refusals(matches, end)), None)
            use = KvUse(len(request.tokens), end, end - known, refused)
            async for part in self._answer(request, states, use):
                yield part

    async def export_kv(
        self,
        tokens: tuple[int, ...],
        *,
        salt: str,
        adapter: str = "",
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
    ) -> KvPayload:
        """See `EnginePort`."""
        if self._closed:
            raise UnavailableError("the engine is dead")
        check_prompt(tokens, self.context_tokens)
        whole = whole_blocks(len(tokens), start, self._block)
        async with self._using(adapter) as seed:
            states = _states(seed, tokens[:whole])[len(seed) + start :]
        rows = np.zeros((len(states), _TOKEN_BYTES), np.uint8)
        rows[:, :_STATE_BYTES] = np.frombuffer(b"".join(states), np.uint8).reshape(len(states), -1)
        return KvPayload.exported(
            [rows.reshape(-1)],
            tokens[:whole],
            self.fingerprint,
            salt=salt,
            adapter=adapter,
            sources=sources,
            start=start,
        )

    async def forget(self) -> bool:
        """See `EnginePort`."""
        self._seen.clear()
        return True

    def close(self) -> None:
        """See `EnginePort`."""
        self._closed = True

    @asynccontextmanager
    async def _using(self, adapter: str) -> AsyncIterator[list[bytes]]:
        """Yields what states begin with."""
        if not adapter:
            yield []
            return
        async with self._rack.using(adapter) as number:
            yield [self._slots.weights(number)]

    async def _answer(
        self, request: GenerationRequest, states: list[bytes], use: KvUse
    ) -> AsyncIterator[GenerationPart]:
        state = blake2b(b"".join(states), digest_size=_STATE_BYTES).digest()
        for number in range(1, request.sampling.max_tokens + 1):
            await asyncio.sleep(self.step_s)
            if self._closed:
                raise UnavailableError("the engine has died")
            place = int.from_bytes(state[:4], "big") % len(_LETTERS)
            token = _FIRST + place
            (state,) = _states([state], (token,))[1:]
            if number < request.sampling.max_tokens:
                yield GenerationPart(_LETTERS[place], (token,))
            else:
                yield GenerationPart(_LETTERS[place], (token,), FinishReason.LENGTH, use)

    @property
    def _block(self) -> int:
        return self.fingerprint.block_tokens

    def _loaded(self, piece: KvPiece) -> list[bytes]:
        payload = self._desk.look(piece.name, 0)
        assert payload is not None
        rows = payload.reshape(-1, _TOKEN_BYTES)[piece.skip :][: piece.end - piece.start]
        return [row[:_STATE_BYTES].tobytes() for row in rows]

    def _known(self, chain: PrefixChain, tokens: int) -> int:
        """Counts the tokens that the engine's own prefix cache has, in whole blocks."""
        known = 0
        for end in range(self._block, tokens, self._block):
            if chain.key(end) not in self._seen:
                break
            known = end
        return known

    def _learn(self, chain: PrefixChain, tokens: int) -> None:
        for end in range(self._block, tokens + 1, self._block):
            key = chain.key(end)
            assert key is not None
            self._seen.add(key)


def _states(states: list[bytes], tokens: Sequence[int]) -> list[bytes]:
    """Returns states with those of more tokens behind them."""
    states = list(states)
    for token in tokens:
        before = states[-1] if states else b""
        states.append(blake2b(before + token.to_bytes(4, "big"), digest_size=_STATE_BYTES).digest())
    return states


class MortalEngine(HashingEngine):
    """Dies of a request with the seed `DEADLY_SEED`."""

    async def generate(
        self, request: GenerationRequest, kv: Sequence[KvPayload] = ()
    ) -> AsyncGenerator[GenerationPart, None]:
        """See `EnginePort`."""
        if request.sampling.seed == DEADLY_SEED:
            self.close()
        async with aclosing(super().generate(request, kv)) as parts:
            async for part in parts:
                yield part


class SayingEngine(HashingEngine):
    """Says what it is told to.

    Attributes:
        says: the answer to everything.
        finish: how it ends.
        silent: whether it never comes.
        asked: all that it was asked.
    """

    def __init__(self) -> None:
        super().__init__(context_tokens=65_536)
        self.says = ""
        self.finish = FinishReason.STOP
        self.silent = False
        self.asked: list[GenerationRequest] = []

    async def generate(
        self, request: GenerationRequest, kv: Sequence[KvPayload] = ()
    ) -> AsyncGenerator[GenerationPart, None]:
        """See `EnginePort`."""
        if self._closed:
            raise UnavailableError("the engine is dead")
        self.asked.append(request)
        if self.silent:
            await asyncio.Event().wait()
        use = KvUse(prompt_tokens=len(request.tokens))
        yield GenerationPart(self.says, (_FIRST,) * len(self.says.split()))
        yield GenerationPart("", (), self.finish, use)


def mortal_engine() -> MortalEngine:
    """Makes a slow engine that one request is enough to end."""
    return MortalEngine(step_s=0.05)


def slow_engine() -> HashingEngine:
    """Makes an engine whose answers can be caught in the middle."""
    return HashingEngine(step_s=0.05)
