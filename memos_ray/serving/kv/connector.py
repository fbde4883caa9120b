"""The vLLM connector: puts offered KV blocks into the engine's cache, and lays out ordered ones.

The replica decides what to load: it has the payloads at hand before a request enters the engine,
so that a look-up here is a dictionary access. The scheduler half checks every offer against the
prompt that it is for; the worker half copies. Whatever is wrong, the prompt is computed instead.

    offered ── checked ──> matched ── blocks allocated ──> loading ──> computed from there on
       └─ refused               └─ nothing allocated          └─ failed: recomputed by the engine

A request may be offered several payloads, each with a segment of its prompt; those are loaded that
follow on what the engine has, and on one another. A load that goes on beside the steps is made once
for all requests that want it: the others wait, and then find its blocks in the engine.

Engines have one scheduler half and one worker half for each rank; between them travels `KvWork`.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
)

from memos_ray.core.activation import (
    KvMatch,
    KvPiece,
    KvScope,
    KvSegment,
    PrefixChain,
    Refusal,
    match,
    refusals,
    run,
)
from memos_ray.serving.kv import paging, transfer
from memos_ray.serving.kv.desk import open_desk
from memos_ray.serving.kv.transfer import KvOrder, KvOutcome

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request

MODULE = __name__
NAME = "MemosKvConnector"

# A copy of this size holds decoding back by less than a step.
_ASIDE_BYTES = 8 << 20
# How long a step without tokens waits for a copy: there is nothing else to do, and to ask again and
# again takes the interpreter from the copying thread.
_IDLE_WAIT_S = 0.005


@dataclass(frozen=True, slots=True)
class _Fill:
    """Blocks to fill from one payload, whose first `skip` blocks are not wanted."""

    name: str
    skip: int
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Load:
    """All that one request needs."""

    request: str
    fills: tuple[_Fill, ...]
    aside: bool


@dataclass(frozen=True, slots=True)
class _Save:
    name: str
    blocks: tuple[int, ...]


@dataclass
class KvWork(KVConnectorMetadata):
    """One step's copies; an `idle` step computes nothing."""

    loads: list[_Load] = field(default_factory=list)
    saves: list[_Save] = field(default_factory=list)
    idle: bool = False


@dataclass(slots=True)
class _Tracked:
    """A request's business with this connector.

    Attributes:
        matches: what passed the checks, until it is loaded or has become useless.
        pieces: what is to be loaded, as last matched with what the engine had.
        refused: what is of no use, by where it begins.
        filling: blocks that are loaded into, in the order of the tokens.
        aside: whether that goes on beside the steps now.
        loaded: tokens that were loaded.
        failed: token from which on a load failed.
        blocks: ids allocated so far; kept only while an order waits for them.
    """

    matches: list[KvMatch]
    order: KvOrder | None
    pieces: tuple[KvPiece, ...] = ()
    refused: list[tuple[int, Refusal]] = field(default_factory=list)
    filling: tuple[int, ...] = ()
    aside: bool = False
    loaded: int = 0
    failed: int | None = None
    blocks: list[int] = field(default_factory=list)

    def outcome(self) -> KvOutcome:
        """Says what became of the offers."""
        if not self.refused:
            return KvOutcome(self.loaded)
        place, why = min(self.refused)
        return KvOutcome(self.loaded, why.value, place, self.failed)


class MemosKvConnector(KVConnectorBase_V1):
    """See the module's description.

    `kv_connector_extra_config`: `desk`, the place of the payloads; `model`, the digest of the model
    identity; `block_bytes`, bytes of one block over all layers and ranks.
    """

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        extra = self._kv_transfer_config.kv_connector_extra_config
        self._desk = open_desk(extra["desk"])
        self._model: str = extra["model"]
        self._block_bytes: int = extra["block_bytes"]
        self._block = vllm_config.cache_config.block_size
        self._ranks = vllm_config.parallel_config.tensor_parallel_size
        self._rank = vllm_config.parallel_config.rank
        self._tracked: dict[str, _Tracked] = {}
        self._loads: list[_Load] = []
        # By payload, the request that it is being copied for beside the steps.
        self._caches: list[torch.Tensor] = []
        self._copiers: ThreadPoolExecutor | None = None
        self._copying: dict[str, Future[None]] = {}
        self._failed: set[int] = set()

    @property
    def requires_kv_delivery(self) -> bool:
        """Nobody depends on what is laid out: a save that is lost is made again."""
        return False

    # Scheduler half

    def get_num_new_matched_tokens(
        self, request: Request, num_computed_tokens: int
    ) -> tuple[int | None, bool]:
        """Tells how many tokens the offered payloads add to what the engine has.

        No number is told while another request loads some of them.
        """
        tracked = self._track(request)
        tracked.filling = ()
        if not tracked.matches:
            return 0, False
        tracked.pieces = run(tracked.matches, num_computed_tokens)
        end = tracked.pieces[-1].end if tracked.pieces else num_computed_tokens
        tracked.refused = refusals(tracked.matches, end)
        missing = end - num_computed_tokens
        aside = self._large(missing)
        if aside and self._busy(request.request_id, tracked.pieces):
            return None, False
        return missing, aside

    def update_state_after_alloc(
        self, request: Request, blocks: KVCacheBlocks, num_external_tokens: int
    ) -> None:
        """Learns which blocks the matched pieces are to fill.

        Called once more when a load beside the steps is done: now others find its blocks.
        """
        tracked = self._track(request)
        tracked.matches, tracked.aside = [], False
        if not num_external_tokens:
            return
        (ids,) = blocks.get_block_ids()
        fills = tuple(
            _Fill(piece.name, piece.skip // self._block, self._ids(ids, piece))
            for piece in tracked.pieces
        )
        tracked.filling = tuple(id for fill in fills for id in fill.blocks)
        tracked.loaded = num_external_tokens
        tracked.aside = self._large(num_external_tokens)
        self._loads.append(_Load(request.request_id, fills, tracked.aside))

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> KvWork:
        """Collects the copies of a step."""
        work = KvWork(self._loads, idle=not scheduler_output.total_num_scheduled_tokens)
        self._loads = []
        scheduled = scheduler_output.num_scheduled_tokens
        for new in scheduler_output.scheduled_new_reqs:
            self._step(
                work,
                new.req_id,
                new.block_ids,
                new.num_computed_tokens + scheduled[new.req_id],
                anew=True,
            )
        cached = scheduler_output.scheduled_cached_reqs
        for place, name in enumerate(cached.req_ids):
            done = cached.num_computed_tokens[place] + scheduled[name]
            anew = name in cached.resumed_req_ids
            self._step(work, name, cached.new_block_ids[place], done, anew=anew)
        for name in scheduler_output.finished_req_ids:
            self._tracked.pop(name, None)
        return work

    def update_connector_output(self, connector_output: KVConnectorOutput) -> None:
        """Learns of loads that failed; what lies before a failed block is kept."""
        invalid = connector_output.invalid_block_ids
        if not invalid:
            return
        for tracked in self._tracked.values():
            bad = next((place for place, id in enumerate(tracked.filling) if id in invalid), None)
            if bad is not None:
                tracked.loaded = min(tracked.loaded, bad * self._block)
                tracked.failed = tracked.pieces[0].start + tracked.loaded
                tracked.refused.append((tracked.failed, Refusal.LOST))

    def request_finished(
        self, request: Request, block_ids: list[int]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Reports what became of the offers; the blocks may be freed."""
        tracked = self._tracked.pop(request.request_id, None)
        return False, transfer.report(tracked.outcome()) if tracked else None

    def _track(self, request: Request) -> _Tracked:
        tracked = self._tracked.get(request.request_id)
        if tracked is None:
            params = request.kv_transfer_params
            matches = self._matches(request, transfer.offers_of(params))
            tracked = _Tracked(matches, transfer.order_of(params))
            self._tracked[request.request_id] = tracked
        return tracked

    def _matches(self, request: Request, offers: list[KvSegment]) -> list[KvMatch]:
        if not offers:
            return []
        adapter = request.lora_request.lora_name if request.lora_request else ""
        scope = KvScope(self._model, request.cache_salt or "", adapter)
        chain = PrefixChain(scope, request.prompt_token_ids or [])
        return [self._match(offer, chain, request.num_prompt_tokens) for offer in offers]

    def _match(self, offer: KvSegment, chain: PrefixChain, prompt_tokens: int) -> KvMatch:
        laid = [self._desk.look(offer.name, rank) for rank in range(self._ranks)]
        sizes = [payload.size for payload in laid if payload is not None]
        if len(sizes) < self._ranks:
            return KvMatch(offer, offer.start, Refusal.LOST)
        if sum(sizes) != self._block_bytes * ((offer.tokens - offer.start) // self._block):
            return KvMatch(offer, offer.start, Refusal.SIZE)
        return match(offer, chain, prompt_tokens, self._block)

    def _busy(self, request: str, pieces: tuple[KvPiece, ...]) -> bool:
        """Tells whether another request loads some of these payloads beside the steps."""
        wanted = {piece.name for piece in pieces}
        return any(
            tracked.aside and any(piece.name in wanted for piece in tracked.pieces)
            for other, tracked in self._tracked.items()
            if other != request
        )

    def _ids(self, ids: list[int], piece: KvPiece) -> tuple[int, ...]:
        return tuple(ids[piece.start // self._block : piece.end // self._block])

    def _large(self, tokens: int) -> bool:
        return bool(tokens // self._block * self._block_bytes > _ASIDE_BYTES)

    def _step(
        self,
        work: KvWork,
        name: str,
        blocks: tuple[list[int], ...] | None,
        computed: int,
        *,
        anew: bool,
    ) -> None:
        tracked = self._tracked.get(name)
        if tracked is None or tracked.order is None:
            return
        order = tracked.order
        if anew:
            tracked.blocks = []
        tracked.blocks.extend(blocks[0] if blocks else ())
        # A long prompt is computed in chunks: the last one completes the prefix.
        if computed >= order.tokens:
            kept = tracked.blocks[order.start // self._block : order.tokens // self._block]
            work.saves.append(_Save(order.name, tuple(kept)))
            tracked.order = None
            tracked.blocks = []

    # Worker half

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Takes the cache tensors, one `[num_blocks, …]` a layer."""
        self._caches = list(kv_caches.values())

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Copies what this step needs, and begins what later steps will need."""
        for load in self._work().loads:
            if not load.aside:
                self._copy(load)
                continue
            if self._copiers is None:
                self._copiers = ThreadPoolExecutor(2, "kv-load")
            self._copying[load.request] = self._copiers.submit(self._copy, load)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Everything that a step needs is there when it begins."""

    def save_kv_layer(
        self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: Any, **kwargs: Any
    ) -> None:
        """Saves are made for all layers together; see `wait_for_save`."""

    def wait_for_save(self) -> None:
        """Lays out what was ordered and is computed now."""
        for save in self._work().saves:
            self._desk.lay(save.name, self._rank, paging.gather(self._caches, save.blocks))

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        """Tells which loads beside the steps are done."""
        if self._work().idle:
            wait(self._copying.values(), _IDLE_WAIT_S, FIRST_COMPLETED)
        done = {name for name, copying in self._copying.items() if copying.done()}
        for name in done:
            self._copying.pop(name).result()
        return None, done or None

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Hands over the blocks whose load failed; the engine computes them."""
        failed, self._failed = self._failed, set()
        return failed

    def shutdown(self) -> None:
        """Ends the loads."""
        if self._copiers is not None:
            self._copiers.shutdown(cancel_futures=True)

    def _copy(self, load: _Load) -> None:
        for fill in load.fills:
            payload = self._desk.look(fill.name, self._rank)
            try:
                if payload is None:
                    raise ValueError("the payload is gone")
                paging.scatter(payload, self._caches, fill.blocks, fill.skip)
            except ValueError:
                self._failed.update(fill.blocks)

    def _work(self) -> KvWork:
        work = self._get_connector_metadata()
        assert isinstance(work, KvWork)
        return work
