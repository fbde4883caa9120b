"""Adapters in the two files that PEFT keeps them in: to take them in, and to give them away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from memos_ray.core.parameter.manifest import module_of
from memos_ray.core.parameter.payload import (
    AdapterPayload,
    Bytes,
    named_header,
    pack_tensors,
    read_tensors,
)
from memos_ray.errors import InvalidInputError

CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"

# What the product of A and B does not say, and no engine here computes with.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "lora_bias": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "modules_to_save": ([], None),
    "fan_in_fan_out": (False, None),
    "trainable_token_indices": ({}, [], None),
    "target_parameters": ([], None),
}


@dataclass(frozen=True, slots=True)
class PeftFiles:
    """An adapter as PEFT's two files.

    Attributes:
        config: the whole configuration.
        head: how the file of tensors begins.
        body: all the rest of it, in place.
    """

    config: bytes
    head: bytes
    body: Bytes

    @property
    def size_bytes(self) -> int:
        """Length of the file of tensors."""
        return len(self.head) + self.body.size

    def part(self, start: int, length: int) -> bytes:
        """Returns a part of the file of tensors; nothing behind its end."""
        begun = self.head[start : start + length]
        inside = max(0, start - len(self.head))
        return begun + self.body[inside : inside + length - len(begun)].tobytes()


def to_peft(payload: AdapterPayload, base_name: str = "") -> PeftFiles:
    """Returns the files of an adapter.

    Args:
        base_name: what the configuration calls the base model.
    """
    manifest = payload.manifest
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": manifest.rank,
        "lora_alpha": manifest.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(manifest.targets),
    }
    # `pt` is what PEFT asks a file of tensors to say.
    head, body = named_header(payload.data, {"format": "pt"})
    return PeftFiles(orjson.dumps(config, option=orjson.OPT_INDENT_2), head, body)


def from_peft(config: bytes, tensors: Bytes, *, base: str) -> AdapterPayload:
    """Makes a payload of PEFT's files; whether it fits the model, `check` decides.

    Args:
        base: digest of the weights of the model that it is for.

    Raises:
        InvalidInputError: it is no LoRA adapter, or one with more than a product for each layer.
    """
    rank, alpha = check_peft(config, tensors)
    return AdapterPayload.seal(
        pack_tensors(read_tensors(tensors)), base=base, rank=rank, alpha=alpha
    )


def check_peft(config: bytes, tensors: Bytes) -> tuple[int, float]:
    """Looks at all of PEFT's files but the numbers; returns rank and alpha.

    Raises:
        InvalidInputError: see `from_peft`.
    """
    try:
        said = orjson.loads(config)
        kind, rank, alpha = said["peft_type"], said["r"], float(said["lora_alpha"])
        if type(rank) is not int or rank < 1 or not math.isfinite(alpha):
            raise ValueError("no rank, or no scale")
        other = [name for name, plain in _PLAIN.items() if said.get(name) not in plain]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise InvalidInputError("this is no configuration of a LoRA adapter") from None
    if kind != "LORA":
        raise InvalidInputError("the adapter is of another kind than LoRA", kind=str(kind)[:40])
    if other:
        raise InvalidInputError("the adapter uses what is not supported", fields=other)
    strange = [spec.name for spec, _ in read_tensors(tensors) if module_of(spec.name) is None]
    if strange:
        raise InvalidInputError(
            "these are no tensors of a LoRA adapter", tensors=[name[:200] for name in strange[:5]]
        )
    return rank, alpha
