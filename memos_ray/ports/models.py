"""Models: what turns texts into vectors, and what answers prompts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Protocol

from memos_ray.core.activation import EngineFingerprint, KvManifest, KvPayload, SourceVersion
from memos_ray.core.generation import ChatMessage, ChatRequest, GenerationPart, GenerationRequest
from memos_ray.core.parameter import AdapterPayload
from memos_ray.core.retrieval.space import EmbeddingSpace
from memos_ray.ports.arrays import Vectors


class EmbedderPort(Protocol):
    """Turns texts into vectors of one embedding space."""

    @property
    def space(self) -> EmbeddingSpace:
        """The space that the vectors belong to."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embeds texts: float32 `[len(texts), space.dim]`, L2-normalised, in order.

        Raises:
            EmbedderError: when the model is away or fails.
        """
        ...

    def legible(self, text: str) -> float:
        """How much of a text the model can read: 1 in a language it was made for, 0 for noise.

        Cheap and local. A model of which this is not known reads everything.
        """
        ...


class EnginePort(Protocol):
    """One model on one replica.

    An answer never depends on whether a KV cache was used for it.
    """

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Says which KV caches this engine can read."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether requests are still answered."""
        ...

    @property
    def held(self) -> Mapping[str, int]:
        """Tokens of the KV caches that need not be fetched again, by `KvManifest.name`."""
        ...

    @property
    def adapters(self) -> Mapping[str, bool]:
        """The LoRA adapters that are loaded, by content digest, and whether each is pinned."""
        ...

    async def load_adapter(self, payload: AdapterPayload, *, pinned: bool = False) -> None:
        """Makes an adapter ready for requests that name its digest.

        Several calls at once, and later ones, load it once. It is verified before the engine sees
        any of it. When there is no room, the least recently used that is neither in use nor pinned
        is dropped.

        Args:
            pinned: whether it stays, with its slot, until it is dropped or loaded without a pin.

        Raises:
            InvalidInputError: it was made for another model, is too large or damaged, or does not
                fit; or too many are pinned. The details' `reason` says which.
            UnavailableError: the engine is dead.
        """
        ...

    async def drop_adapter(self, digest: str) -> bool:
        """Lets no new request have an adapter; answers under way end with it.

        One that is not loaded is fine.

        Returns:
            Whether its weights are out of memory; not while answers under way use them.
        """
        ...

    def generate(
        self, request: GenerationRequest, kv: Sequence[KvPayload] = ()
    ) -> AsyncIterator[GenerationPart]:
        """Yields an answer as it comes; leaving early cancels it.

        Args:
            kv: stand in for computing the beginning of the prompt, in any order, as far as they
                fit it and follow on one another. The last part says how many tokens that were, and
                why the first that was of no use was not used.

        Raises:
            InvalidInputError: the prompt is empty or too long, or a setting is out of range.
            NotFoundError: the adapter is not loaded. Whether it is, is decided before anything is
                awaited; it stays until the answer has ended.
            UnavailableError: the engine is dead.
        """
        ...

    async def export_kv(
        self,
        tokens: tuple[int, ...],
        *,
        salt: str,
        adapter: str = "",
        sources: tuple[SourceVersion, ...] = (),
        start: int = 0,
    ) -> KvPayload:
        """Computes a text and returns its KV cache, in the engine's own layout.

        What the engine's own prefix cache holds is not computed again.

        Args:
            tokens: a prefix of prompts to come; what exceeds a whole block is left out.
            sources: the memories in it, noted in the manifest.
            start: how many tokens the payload leaves out in front, in whole blocks.

        Raises:
            InvalidInputError: there is no whole block behind `start`, or the text is too long.
            NotFoundError: the adapter is not loaded.
            UnavailableError: the engine is dead, or was too busy to keep the blocks.
        """
        ...

    async def forget(self) -> bool:
        """Empties the engine's own prefix cache, as an erasure asks for.

        Returns:
            Whether it is empty; not while requests under way hold blocks.
        """
        ...

    def close(self) -> None:
        """Ends the engine; requests under way end with an error."""
        ...


class TokenizerPort(Protocol):
    """The tokenizer of a model, with its chat template."""

    @property
    def opening(self) -> str:
        """The token that every text begins with for this model; empty where there is none.

        A chat template has it; a prompt without one needs it in front.
        """
        ...

    def plain(self, text: str) -> str:
        """Returns a text in which nothing is a control token any more, such as an end of turn.

        Whatever somebody remembered or says can then not pass for another's turn.
        """
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Returns the tokens of a text as it is, nothing added in front or behind."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, control tokens written out."""
        ...

    def render(self, messages: Sequence[ChatMessage]) -> str:
        """Returns the prompt text of a conversation, up to where the model answers.

        Raises:
            InvalidInputError: the model's template takes no such conversation.
        """
        ...


class ModelPort(Protocol):
    """One model, as gateways see it: its replicas, or an endpoint elsewhere."""

    def chat(
        self, request: ChatRequest, kv: Sequence[object] = (), weights: object | None = None
    ) -> AsyncGenerator[GenerationPart, None]:
        """Yields an answer as it comes; leaving early cancels it.

        Args:
            kv: references to each `KvPayload` that the prompt may begin with; see `EnginePort`. One
                that is gone costs time, and is reported as `lost`.
            weights: reference to the `AdapterPayload` of the request's `adapter`, for a replica
                that has it not yet. With an adapter that cannot be had there is no answer at all:
                the caller decides what to ask instead.

        Raises:
            InvalidInputError: the conversation does not fit the model's template or context, or the
                adapter does not fit the model; before the first part.
            NotFoundError: the adapter is lost; before the first part.
            OverloadedError: too many requests wait.
            DeadlineExceededError: the answer took too long.
            UnavailableError: no replica answers, or the one that did has died.
        """
        ...

    async def close(self) -> None:
        """Lets go of what this process holds of the model; the model itself goes on."""
        ...


class AdapterReplicasPort(Protocol):
    """All replicas of the models, as holders of adapters."""

    async def drop(self, model: str, digest: str) -> bool:
        """Has every replica of a model drop the weights of an adapter.

        Returns:
            Whether each living replica has confirmed that they are out of its memory; not while
            answers under way use them.

        Raises:
            UnavailableError: not every living replica answers.
        """
        ...


class KvBuilderPort(Protocol):
    """Builds KV caches on the replicas of a model, for a shard that will own them."""

    async def build(
        self,
        model: str,
        shared: str,
        *,
        salt: str,
        sources: tuple[SourceVersion, ...],
        adapter: str = "",
        weights: object | None = None,
    ) -> tuple[KvManifest, object]:
        """Computes the cache of a prompt's beginning.

        Args:
            adapter: content digest of the LoRA adapter that the prompts are for; none when empty.
            weights: reference to its `AdapterPayload`, for a replica that has it not yet.

        Returns:
            Its manifest, and a reference to the `KvPayload` in the object store. The object belongs
            to this process: it survives the replica, and goes when the reference does.

        Raises:
            NotFoundError: there is no such model, or the adapter cannot be had.
            InvalidInputError: the text is shorter than a KV block, or too long, or the adapter does
                not fit the model, or an endpoint computes this model.
            UnavailableError: no replica answers.
        """
        ...

    async def extend(
        self,
        model: str,
        tokens: tuple[int, ...],
        *,
        salt: str,
        start: int,
        sources: tuple[SourceVersion, ...],
    ) -> tuple[KvManifest, object]:
        """Computes the cache of a conversation, and keeps what is behind its first tokens.

        Args:
            tokens: of the conversation; see `GenerationPart.said`.
            start: how many of them other caches hold, in whole blocks.

        Returns:
            As `build` does.

        Raises:
            NotFoundError: there is no such model.
            InvalidInputError: there is no whole block behind `start`, or too many tokens, or an
                endpoint computes this model.
            UnavailableError: no replica answers.
        """
        ...
