"""Combines adapters of one base model, with PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from memos_ray.core.parameter import (
    AdapterLimits,
    AdapterPayload,
    FusionMethod,
    FusionPlan,
    check,
    joined_origin,
)
from memos_ray.errors import InvalidInputError
from memos_ray.serving import model_files
from memos_ray.serving.teaching.student import (
    computing,
    load_base,
    lora_config,
    packed,
    torch_tensors,
)

_RESULT = "combined"
# All of them combine what A and B amount to, not A and B, whose columns mean other things in
# every adapter.
_PEFT_NAMES = {
    FusionMethod.LINEAR: "cat",
    FusionMethod.SVD: "svd",
    FusionMethod.TIES: "ties_svd",
    FusionMethod.DARE: "dare_linear_svd",
}


def fuse(
    folder: Path,
    payloads: Sequence[AdapterPayload],
    plan: FusionPlan,
    *,
    bytes_max: int,
    threads: int = 1,
) -> AdapterPayload:
    """Combines adapters into one.

    Args:
        folder: of their base model.
        plan: made for these adapters; see `plan_fusion`.
        bytes_max: largest adapter, of the given ones and of the result.

    Raises:
        InvalidInputError: an adapter does not fit the model, or the result is too large.
    """
    rank_max = max([plan.rank, *(one.manifest.rank for one in payloads)])
    limits = AdapterLimits(
        model_files.weights_digest(folder), model_files.layer_shapes(folder), rank_max, bytes_max
    )
    if len(payloads) != len(plan.weights):
        raise InvalidInputError("the plan was made for other adapters")
    for each in payloads:
        check(each, limits)
    with computing(threads), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        data = packed(_combined(folder, payloads, plan))
    fused = AdapterPayload.seal(
        data,
        base=limits.base,
        rank=plan.rank,
        # PEFT puts all scaling into the numbers.
        alpha=float(plan.rank),
        origin=joined_origin([one.manifest for one in payloads], plan),
    )
    check(fused, limits)
    return fused


def _combined(
    folder: Path, payloads: Sequence[AdapterPayload], plan: FusionPlan
) -> dict[str, torch.Tensor]:
    names = [f"adapter{number}" for number in range(len(payloads))]
    configs = [
        lora_config(one.manifest.rank, one.manifest.alpha, one.manifest.targets) for one in payloads
    ]
    model = get_peft_model(load_base(folder, torch.device("cpu")), configs[0], names[0])
    for name, config in list(zip(names, configs, strict=True))[1:]:
        model.add_adapter(name, config)
    for name, one in zip(names, payloads, strict=True):
        set_peft_model_state_dict(model, torch_tensors(one), adapter_name=name)
    chosen = plan.method in (FusionMethod.TIES, FusionMethod.DARE)
    model.base_model.add_weighted_adapter(
        names,
        list(plan.weights),
        _RESULT,
        combination_type=_PEFT_NAMES[plan.method],
        svd_rank=None if plan.method is FusionMethod.LINEAR else plan.rank,
        svd_full_matrices=False,
        density=plan.density if chosen else None,
    )
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=_RESULT)
    return found
