"""Turns model settings into a vLLM configuration, and says what its KV blocks are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memos_ray.config import ModelSettings
from memos_ray.core.activation import EngineFingerprint, KvGeometry, ModelIdentity
from memos_ray.serving import model_files
from memos_ray.serving.lora.carriers import EXTENSION

if TYPE_CHECKING:
    from vllm.config import VllmConfig

_QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
}
# The ranks that vLLM reserves memory for.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# How many adapters vLLM holds: `AdapterRack` says when one has to go.
_UNLIMITED = 1 << 20


@dataclass(frozen=True, slots=True)
class VllmPlan:
    """What an engine is started with.

    Attributes:
        element_bytes: size of one number of the KV cache.
    """

    config: VllmConfig
    fingerprint: EngineFingerprint
    element_bytes: int


def hush() -> None:
    """Sets what vLLM reads when it is imported or started; what the operator has set stays."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def plan_engine(settings: ModelSettings, desk: str, *, own_process: bool) -> VllmPlan:
    """Prepares this process for vLLM and configures an engine.

    Args:
        desk: place of KV payloads; see `kv.desk`.
        own_process: whether the engine core runs in a process of its own.
    """
    hush()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if own_process else "0"
    if settings.tensor_parallel > 1:
        # vLLM divides CPU ranks among NUMA nodes by itself, and gives up when there are too few.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", _cores_of(settings.tensor_parallel))

    from vllm.config import KVTransferConfig, StructuredOutputsConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    from memos_ray.serving.kv import connector

    extra: dict[str, object] = {"desk": desk}
    arguments = AsyncEngineArgs(
        model=str(settings.folder),
        dtype=settings.dtype.value,
        seed=0,
        max_model_len=settings.context_tokens,
        max_num_batched_tokens=max(settings.batch_tokens, settings.sequences),
        max_num_seqs=settings.sequences,
        block_size=settings.block_tokens,
        kv_cache_memory_bytes=settings.kv_bytes,
        tensor_parallel_size=settings.tensor_parallel,
        enable_prefix_caching=True,
        disable_log_stats=True,
        # Between the parts of JSON a model may go on with blanks until its answer is full.
        structured_outputs_config=StructuredOutputsConfig(
            backend="xgrammar", disable_any_whitespace=True
        ),
        kv_transfer_config=KVTransferConfig(
            kv_connector=connector.NAME,
            kv_connector_module_path=connector.MODULE,
            kv_role="kv_both",
            kv_load_failure_policy="recompute",
            kv_connector_extra_config=extra,
        ),
        **{"enforce_eager": settings.eager, **_adapters(settings)},
    )
    config = arguments.create_engine_config()
    fingerprint, element_bytes = _fingerprint(settings, config)
    geometry = fingerprint.model.geometry
    extra["model"] = fingerprint.model.digest
    extra["block_bytes"] = (2 * geometry.layers * geometry.kv_heads * geometry.head_dim) * (
        fingerprint.block_tokens * element_bytes
    )
    assert config.kv_transfer_config is not None
    config.kv_transfer_config.kv_connector_extra_config.update(extra)
    return VllmPlan(config, fingerprint, element_bytes)


def _adapters(settings: ModelSettings) -> dict[str, Any]:
    if not settings.adapter_slots:
        return {}
    from vllm.platforms import current_platform

    eager = {"enforce_eager": True} if current_platform.device_type == "cpu" else {}
    return {
        # See `lora.cpu_arithmetic`.
        **eager,
        "enable_lora": True,
        "max_loras": settings.adapter_slots,
        "max_cpu_loras": _UNLIMITED,
        "max_lora_rank": next(rank for rank in _RANKS if rank >= settings.adapter_rank_max),
        "worker_extension_cls": EXTENSION,
    }


def _cores_of(ranks: int) -> str:
    """Returns each rank's cores, as in `0,1|2,3`."""
    cores = sorted(os.sched_getaffinity(0))
    shares = [cores[rank::ranks] or cores for rank in range(ranks)]
    return "|".join(",".join(map(str, share)) for share in shares)


def _fingerprint(settings: ModelSettings, config: VllmConfig) -> tuple[EngineFingerprint, int]:
    import torch
    from vllm import __version__

    model, parallel, cache = config.model_config, config.parallel_config, config.cache_config
    ranks = parallel.tensor_parallel_size
    dtype = model.dtype if cache.cache_dtype == "auto" else cache.cache_dtype
    element = dtype if isinstance(dtype, torch.dtype) else getattr(torch, str(dtype))
    geometry = KvGeometry(
        layers=model.get_num_layers(parallel),
        # Where there are fewer heads than ranks, each rank holds a copy of one.
        kv_heads=model.get_num_kv_heads(parallel) * ranks,
        head_dim=model.get_head_size(),
    )
    identity = ModelIdentity(
        weights=model_files.weights_digest(settings.folder),
        tokenizer=model_files.tokenizer_digest(settings.folder),
        kv_dtype=str(element).removeprefix("torch."),
        geometry=geometry,
    )
    fingerprint = EngineFingerprint(
        model=identity,
        engine="vllm-" + ".".join(__version__.split(".")[:2]),
        device_layout=device_layout(config, element),
        block_tokens=cache.block_size,
        tensor_parallel=ranks,
    )
    return fingerprint, element.itemsize


def device_layout(config: VllmConfig, element: object) -> str:
    """Names the arrangement inside the blocks of this machine's back-end."""
    from vllm.platforms import current_platform

    if current_platform.device_type != "cpu":
        return f"{current_platform.device_type}-split-last"
    from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

    isa = _get_attn_isa(
        element, config.cache_config.block_size, config.model_config.get_head_size()
    )
    return f"cpu-{isa}"
