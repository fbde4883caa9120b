"""Combines adapters of one base model, with PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.merge_utils import calculate_majority_sign_mask, prune

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
    FusionMethod.DARE: "dare_linear_svd",
}
_A, _B = ".lora_A.", ".lora_B."


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
        if plan.method is FusionMethod.TIES:
            data = packed(_agreed(payloads, plan))
        else:
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
    model.base_model.add_weighted_adapter(
        names,
        list(plan.weights),
        _RESULT,
        combination_type=_PEFT_NAMES[plan.method],
        svd_rank=None if plan.method is FusionMethod.LINEAR else plan.rank,
        svd_full_matrices=False,
        density=plan.density if plan.method is FusionMethod.DARE else None,
    )
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=_RESULT)
    return found


def _agreed(payloads: Sequence[AdapterPayload], plan: FusionPlan) -> dict[str, torch.Tensor]:
    """Returns the sum of the adapters' largest changes, where most of their weight agrees."""
    several = [_changes(one) for one in payloads]
    found = {}
    for name in dict.fromkeys(name for each in several for name in each):
        kept = torch.stack(
            [
                weight * prune(each[name], plan.density, "magnitude")
                for weight, each in zip(plan.weights, several, strict=True)
                if name in each
            ]
        )
        agreed = (kept * calculate_majority_sign_mask(kept)).sum(dim=0)
        found[name], found[name.replace(_A, _B)] = _factors(agreed, plan.rank)
    return found


def _changes(payload: AdapterPayload) -> dict[str, torch.Tensor]:
    """Returns by how much an adapter changes each layer, by the names of its A."""
    tensors = torch_tensors(payload)
    scale = payload.manifest.alpha / payload.manifest.rank
    return {
        name: scale * tensors[name.replace(_A, _B)] @ each
        for name, each in tensors.items()
        if _A in name
    }


def _factors(change: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the A and B whose product is as near as their rank allows."""
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    a, b = torch.zeros(rank, change.shape[1]), torch.zeros(change.shape[0], rank)
    room = min(rank, len(sizes))
    roots = sizes[:room].sqrt()
    a[:room], b[:, :room] = roots[:, None] * right[:room], left[:, :room] * roots
    return a, b
