"""Models without weights, for tests of everything in front of a model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from memos_ray.core.activation import KvManifest, KvPayload, SourceVersion
from memos_ray.core.generation import (
    ChatRequest,
    FinishReason,
    GenerationPart,
    KvUse,
    joined,
)
from memos_ray.core.parameter import AdapterPayload
from memos_ray.errors import MemosError
from memos_ray.serving.replica import AdapterSource, ModelReplica


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
        self, request: ChatRequest, kv: Sequence[object] = (), weights: object | None = None
    ) -> AsyncGenerator[GenerationPart, None]:
        """Yields the prompt's words, up to `max_tokens` of them."""
        self.requests.append(request)
        words = joined(request.messages).split()
        said = words[: request.sampling.max_tokens] or [""]
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

    async def close(self) -> None:
        """Nothing is held."""


class ReplicaModel:
    """A replica of this process. Implements `ports.ModelPort`, `ports.KvBuilderPort` and
    `ports.AdapterReplicasPort`.

    Attributes:
        built: how many KV caches it has built.
        fail: raised instead of building one, or of dropping an adapter.
    """

    def __init__(self, replica: ModelReplica) -> None:
        self._replica = replica
        self.built = 0
        self.fail: MemosError | None = None

    async def chat(
        self, request: ChatRequest, kv: Sequence[object] = (), weights: object | None = None
    ) -> AsyncGenerator[GenerationPart, None]:
        """See `ModelReplica.chat`; references are payloads here, or nothing once they are lost."""
        payloads = [one for one in kv if one is None or isinstance(one, KvPayload)]
        assert len(payloads) == len(kv)
        async for part in self._replica.chat(request, payloads, _source(weights)):
            yield part

    async def close(self) -> None:
        """Nothing is held: the replica is whoever made it to close."""

    async def drop(self, model: str, digest: str) -> bool:
        """See `AdapterReplicasPort`."""
        if self.fail is not None:
            raise self.fail
        return await self._replica.drop_adapter(digest)

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
        """See `KvBuilderPort`."""
        if self.fail is not None:
            raise self.fail
        payload = await self._replica.build_kv(
            shared, salt=salt, adapter=adapter, weights=_source(weights), sources=sources
        )
        self.built += 1
        return payload.manifest, payload

    async def extend(
        self,
        model: str,
        tokens: tuple[int, ...],
        *,
        salt: str,
        start: int,
        sources: tuple[SourceVersion, ...],
    ) -> tuple[KvManifest, object]:
        """See `KvBuilderPort`."""
        if self.fail is not None:
            raise self.fail
        payload = await self._replica.export_kv(tokens, salt=salt, sources=sources, start=start)
        self.built += 1
        return payload.manifest, payload


def _source(weights: object | None) -> AdapterSource:
    async def source() -> AdapterPayload | None:
        return weights if isinstance(weights, AdapterPayload) else None

    return source
