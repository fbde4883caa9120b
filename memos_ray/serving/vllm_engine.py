"""The vLLM engine behind `EnginePort`: prompts with KV caches in, parts of answers out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from memos_ray.config import ModelSettings
from memos_ray.core.activation import (
    EngineFingerprint,
    KvPayload,
    KvSegment,
    Refusal,
    SourceVersion,
    whole_blocks,
)
from memos_ray.core.generation import (
    FinishReason,
    GenerationPart,
    GenerationRequest,
    KvUse,
    Sampling,
    check_prompt,
)
from memos_ray.core.parameter import AdapterLimits, AdapterPayload
from memos_ray.errors import InvalidInputError, UnavailableError
from memos_ray.serving import model_files
from memos_ray.serving.kv import transfer
from memos_ray.serving.kv.desk import open_desk, shared_folder
from memos_ray.serving.kv.shelf import KvShelf
from memos_ray.serving.kv.transfer import KvOrder
from memos_ray.serving.lora.carriers import WorkerCarrier
from memos_ray.serving.lora.rack import AdapterRack
from memos_ray.serving.vllm_config import VllmPlan, plan_engine
from memos_ray.serving.vllm_drivers import ProcessDriver, ThreadDriver, VllmDriver

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.outputs import RequestOutput

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "abort": FinishReason.CANCELLED,
}


class VllmEngine:
    """One model on one replica. Implements `memos_ray.ports.EnginePort`."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        apart = settings.engine_process
        desk = shared_folder() if apart else "local"
        self._plan: VllmPlan = plan_engine(settings, desk, own_process=apart)
        self._desk = open_desk(desk)
        self._shelf = KvShelf(
            self._desk, self._plan.fingerprint, self._plan.element_bytes, settings.shelf_bytes
        )
        config = self._plan.config
        self._driver: VllmDriver = ProcessDriver(config) if apart else ThreadDriver(config)
        self._rack = AdapterRack(
            WorkerCarrier(self._driver.call, self._desk, desk),
            AdapterLimits(
                base=self.fingerprint.model.weights,
                shapes=model_files.layer_shapes(settings.folder),
                rank_max=settings.adapter_rank_max,
                bytes_max=settings.adapter_host_bytes,
            ),
            settings.adapter_slots,
            settings.adapter_host_bytes,
        )

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Says which KV caches this engine can read."""
        return self._plan.fingerprint

    @property
    def healthy(self) -> bool:
        """Whether requests are still answered."""
        return self._driver.healthy

    @property
    def held(self) -> dict[str, int]:
        """Tokens of the KV caches at hand, by name."""
        return self._shelf.held

    @property
    def adapters(self) -> dict[str, bool]:
        """The adapters at hand, by digest, and whether each is pinned."""
        return self._rack.held

    async def load_adapter(self, payload: AdapterPayload, *, pinned: bool = False) -> None:
        """Takes an adapter into host memory; see `EnginePort`.

        Raises:
            InvalidInputError: it does not fit this engine, or too many are pinned.
            UnavailableError: the engine is dead.
        """
        await self._rack.load(payload, pinned=pinned)

    async def drop_adapter(self, digest: str) -> bool:
        """Lets nobody new have an adapter; answers under way end with it. See `EnginePort`."""
        return await self._rack.drop(digest)

    async def generate(
        self, request: GenerationRequest, kv: Sequence[KvPayload] = ()
    ) -> AsyncIterator[GenerationPart]:
        """Yields an answer as it comes; leaving early cancels it. See `EnginePort`.

        Raises:
            InvalidInputError: the prompt is empty or too long, or a setting is out of range.
            NotFoundError: the adapter is not loaded.
            UnavailableError: the engine is dead.
        """
        check_prompt(request.tokens, self._settings.context_tokens)
        async with self._using(request.adapter) as adapter:
            with self._shelf.using(kv) as names:
                laid = list(zip(names, [payload.manifest for payload in kv], strict=True))
                offers = [KvSegment.of(one) for name, one in laid if not isinstance(name, Refusal)]
                unfit = [(one.start, name) for name, one in laid if isinstance(name, Refusal)]
                refused = min(unfit, default=None)
                # Ended here, whatever happens: until then the adapter keeps its slot.
                async with aclosing(self._answer(request, offers, refused, adapter)) as parts:
                    async for part in parts:
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
        """Computes a text and returns its KV cache, in the engine's own layout. See `EnginePort`.

        Raises:
            InvalidInputError: there is no whole block behind `start`, or the text is too long.
            NotFoundError: the adapter is not loaded.
            UnavailableError: the engine is dead, or was too busy to keep the blocks.
        """
        check_prompt(tokens, self._settings.context_tokens)
        whole = whole_blocks(len(tokens), start, self.fingerprint.block_tokens)
        order = KvOrder(uuid4().hex, start, whole)
        params = sampling_params(Sampling(max_tokens=1), transfer.params_of((), order))
        prompt = {"prompt_token_ids": list(tokens), "cache_salt": salt}
        try:
            async with self._using(adapter) as lora:
                async for _ in self._driver.run(order.name, prompt, params, lora):
                    pass
            ranks = [
                self._desk.look(order.name, rank)
                for rank in range(self.fingerprint.tensor_parallel)
            ]
        finally:
            self._desk.clear(order.name)
        kept = [rank for rank in ranks if rank is not None]
        if len(kept) < len(ranks):
            raise UnavailableError("the engine has not kept the blocks")
        return KvPayload.exported(
            kept,
            tokens[:whole],
            self.fingerprint,
            salt=salt,
            adapter=adapter,
            sources=sources,
            start=start,
        )

    async def forget(self) -> bool:
        """Empties the engine's own prefix cache, as an erasure asks for.

        Returns:
            Whether it is empty; not while requests under way hold blocks.
        """
        return await self._driver.forget()

    def close(self) -> None:
        """Ends the engine."""
        self._driver.close()
        self._desk.close()

    @asynccontextmanager
    async def _using(self, digest: str) -> AsyncIterator[LoRARequest | None]:
        if not digest:
            yield None
            return
        from vllm.lora.request import LoRARequest

        async with self._rack.using(digest) as number:
            # vLLM's own prefix cache and our connector tell adapters apart by their names. The path
            # is never opened: the adapter is there.
            yield LoRARequest(digest, number, f"memos:{digest}")

    async def _answer(
        self,
        request: GenerationRequest,
        offers: Sequence[KvSegment],
        refused: tuple[int, Refusal] | None,
        adapter: LoRARequest | None,
    ) -> AsyncGenerator[GenerationPart, None]:
        from vllm.exceptions import VLLMClientError

        prompt = {"prompt_token_ids": list(request.tokens), "cache_salt": request.salt}
        try:
            params = sampling_params(request.sampling, transfer.params_of(offers, None))
            async with aclosing(self._driver.run(request.id, prompt, params, adapter)) as outputs:
                async for output in outputs:
                    yield _part(output, refused)
        except (ValueError, VLLMClientError) as error:
            # vLLM's messages speak of settings and lengths, never of the prompt's text.
            raise InvalidInputError(f"the engine refuses the request: {error}") from None


def sampling_params(sampling: Sampling, extra: dict[str, Any] | None) -> SamplingParams:
    """Says in vLLM's words how to choose tokens."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    schema = sampling.json_schema
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        stop=list(sampling.stop),
        seed=sampling.seed,
        ignore_eos=sampling.ignore_eos,
        structured_outputs=StructuredOutputsParams(json=schema) if schema else None,
        output_kind=RequestOutputKind.DELTA,
        extra_args=extra,
    )


def _part(output: RequestOutput, refused: tuple[int, Refusal] | None) -> GenerationPart:
    """Returns a part of an answer.

    Args:
        refused: the first payload that the engine was not even offered: where it begins, and why.
    """
    (answer,) = output.outputs
    if not output.finished:
        return GenerationPart(answer.text, tuple(answer.token_ids))
    outcome = transfer.outcome_of(output.kv_transfer_params)
    cached = output.num_cached_tokens or 0
    why = outcome.refused
    if refused is not None and (why is None or refused[0] <= outcome.place):
        why = refused[1].value
    use = KvUse(
        prompt_tokens=len(output.prompt_token_ids or ()),
        # vLLM goes on counting what it failed to load.
        cached_tokens=cached if outcome.failed is None else min(cached, outcome.failed),
        loaded_tokens=outcome.loaded,
        refused=why,
    )
    finish = _FINISH.get(answer.finish_reason or "", FinishReason.CANCELLED)
    return GenerationPart(answer.text, tuple(answer.token_ids), finish, use)
