"""What is relied on in vLLM; a program, since vLLM changes the process that imports it."""

from __future__ import annotations

import json
import os
import sys

from tests.upstream.surface import Relied, complaint, overridden

_DRIVERS = "serving/vllm_drivers.py"
_ENGINE = "serving/vllm_engine.py"
_CONFIG = "serving/vllm_config.py"
_CONNECTOR = "serving/kv/connector.py"
_LLM = "vllm.v1.engine.llm_engine:LLMEngine"
_ASYNC = "vllm.v1.engine.async_llm:AsyncLLM"
_SCHEDULED = "vllm.v1.core.sched.output"
_BASE = "vllm.distributed.kv_transfer.kv_connector.v1.base"

RELIED = (
    Relied(f"{_LLM}.from_vllm_config", _DRIVERS, ("vllm_config",), ("disable_log_stats",)),
    Relied(
        f"{_LLM}.add_request",
        _DRIVERS,
        ("request_id", "prompt", "params"),
        ("lora_request",),
        awaited=False,
    ),
    Relied(f"{_LLM}.abort_request", _DRIVERS, ("request_ids",), awaited=False),
    Relied(f"{_LLM}.step", _DRIVERS, (), awaited=False),
    Relied(f"{_LLM}.reset_prefix_cache", _DRIVERS, (), awaited=False),
    Relied(_LLM, _DRIVERS, has=("engine_core",)),
    Relied("vllm.v1.engine.core_client:EngineCoreClient.shutdown", _DRIVERS, ()),
    Relied(f"{_ASYNC}.from_vllm_config", _DRIVERS, ("vllm_config",), ("disable_log_stats",)),
    Relied(
        f"{_ASYNC}.generate",
        _DRIVERS,
        ("prompt", "sampling_params"),
        ("request_id", "lora_request"),
    ),
    Relied(f"{_ASYNC}.reset_prefix_cache", _DRIVERS, (), awaited=True),
    Relied(f"{_ASYNC}.shutdown", _DRIVERS, (), awaited=False),
    Relied(_ASYNC, _DRIVERS, has=("errored",)),
    Relied("vllm.v1.engine.exceptions:EngineDeadError", _DRIVERS),
    Relied("vllm.exceptions:VLLMClientError", _ENGINE),
    Relied(
        "vllm:SamplingParams",
        _ENGINE,
        named=(
            "max_tokens",
            "temperature",
            "top_p",
            "top_k",
            "presence_penalty",
            "frequency_penalty",
            "stop",
            "seed",
            "ignore_eos",
            "structured_outputs",
            "output_kind",
            "extra_args",
        ),
    ),
    Relied("vllm.sampling_params:RequestOutputKind.DELTA", _ENGINE),
    Relied("vllm.sampling_params:StructuredOutputsParams", _ENGINE, named=("json",)),
    Relied(
        "vllm.outputs:RequestOutput",
        _ENGINE,
        has=(
            "request_id",
            "prompt_token_ids",
            "outputs",
            "finished",
            "num_cached_tokens",
            "kv_transfer_params",
        ),
    ),
    Relied("vllm.outputs:CompletionOutput", _ENGINE, has=("text", "token_ids", "finish_reason")),
    Relied(
        "vllm.engine.arg_utils:AsyncEngineArgs",
        _CONFIG,
        named=(
            "model",
            "dtype",
            "seed",
            "max_model_len",
            "max_num_batched_tokens",
            "max_num_seqs",
            "block_size",
            "kv_cache_memory_bytes",
            "tensor_parallel_size",
            "enforce_eager",
            "enable_prefix_caching",
            "disable_log_stats",
            "structured_outputs_config",
            "kv_transfer_config",
        ),
    ),
    Relied("vllm.engine.arg_utils:AsyncEngineArgs.create_engine_config", _CONFIG, ()),
    Relied(
        "vllm.config:StructuredOutputsConfig",
        _CONFIG,
        named=("backend", "disable_any_whitespace"),
    ),
    Relied(
        "vllm.config:KVTransferConfig",
        _CONFIG,
        has=(
            "kv_connector",
            "kv_connector_module_path",
            "kv_role",
            "kv_load_failure_policy",
            "kv_connector_extra_config",
        ),
    ),
    Relied("vllm.config:ModelConfig", _CONFIG, has=("dtype",)),
    Relied("vllm.config:ModelConfig.get_num_layers", _CONFIG, ("parallel_config",)),
    Relied("vllm.config:ModelConfig.get_num_kv_heads", _CONFIG, ("parallel_config",)),
    Relied("vllm.config:ModelConfig.get_head_size", _CONFIG, ()),
    Relied("vllm.config:CacheConfig", _CONFIG, has=("block_size", "cache_dtype")),
    Relied("vllm.config:ParallelConfig", _CONNECTOR, has=("tensor_parallel_size", "rank")),
    Relied("vllm.platforms:current_platform", _CONFIG),
    Relied(
        "vllm.v1.attention.backends.cpu_attn:_get_attn_isa",
        _CONFIG,
        ("dtype", "block_size", "head_size"),
    ),
    Relied(f"{_BASE}:KVConnectorMetadata", _CONNECTOR),
    Relied(f"{_BASE}:KVConnectorBase_V1._get_connector_metadata", _CONNECTOR, ()),
    Relied(f"{_BASE}:KVConnectorBase_V1", _CONNECTOR, has=("_kv_transfer_config",)),
    Relied(
        f"{_SCHEDULED}:SchedulerOutput",
        _CONNECTOR,
        has=(
            "scheduled_new_reqs",
            "scheduled_cached_reqs",
            "num_scheduled_tokens",
            "finished_req_ids",
        ),
    ),
    Relied(
        f"{_SCHEDULED}:NewRequestData",
        _CONNECTOR,
        has=("req_id", "block_ids", "num_computed_tokens"),
    ),
    Relied(
        f"{_SCHEDULED}:CachedRequestData",
        _CONNECTOR,
        has=("req_ids", "resumed_req_ids", "new_block_ids", "num_computed_tokens"),
    ),
    Relied("vllm.v1.outputs:KVConnectorOutput", _CONNECTOR, has=("invalid_block_ids",)),
    Relied("vllm.v1.core.kv_cache_manager:KVCacheBlocks.get_block_ids", _CONNECTOR, ()),
    Relied(
        "vllm.v1.request:Request",
        _CONNECTOR,
        has=(
            "request_id",
            "kv_transfer_params",
            "prompt_token_ids",
            "num_prompt_tokens",
            "lora_request",
            "cache_salt",
        ),
    ),
    Relied("vllm.lora.request:LoRARequest", _CONNECTOR, has=("lora_name",)),
)


def connector() -> list[str]:
    """Compares our connector with vLLM's base."""
    from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorBase_V1

    from memos_ray.serving.kv.connector import MemosKvConnector

    return overridden(MemosKvConnector, KVConnectorBase_V1)


if __name__ == "__main__":
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    found = {relied.path: complaint(relied) for relied in RELIED}
    sys.stdout.write(json.dumps({"relied": found, "connector": connector()}))
