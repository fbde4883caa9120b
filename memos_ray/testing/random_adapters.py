"""LoRA adapters with random weights, which change what a model answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from memos_ray.core.parameter import AdapterPayload, TensorSpec, pack_tensors

Tensors = Mapping[str, npt.NDArray[np.float32]]


def random_adapter(
    base: str,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    seed: int,
    rank: int = 4,
    targets: Iterable[str] = ("q_proj", "k_proj", "v_proj", "o_proj"),
    std: float = 0.2,
) -> AdapterPayload:
    """Makes an adapter for a model.

    Args:
        base, shapes: of the model; see `AdapterLimits`.
        targets: which layers it changes, those of them that the model has.
        std: of all its numbers.
    """
    return sealed(random_tensors(shapes, seed, rank, targets, std), base, rank)


def random_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    seed: int,
    rank: int,
    targets: Iterable[str],
    std: float,
) -> dict[str, npt.NDArray[np.float32]]:
    """Returns an adapter's tensors, by the names that PEFT gives them."""
    chosen, wanted = np.random.default_rng(seed), set(targets)
    found = {}
    for layer, (rows, columns) in shapes.items():
        if layer.rpartition(".")[2] in wanted:
            for half, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                numbers = chosen.normal(0.0, std, shape).astype(np.float32)
                found[f"base_model.model.{layer}.lora_{half}.weight"] = numbers
    return found


def sealed(tensors: Tensors, base: str, rank: int, alpha: float | None = None) -> AdapterPayload:
    """Returns tensors as an adapter; `alpha` is twice the rank when absent."""
    alpha = 2.0 * rank if alpha is None else alpha
    return AdapterPayload.seal(file_of(tensors), base=base, rank=rank, alpha=alpha)


def file_of(tensors: Tensors) -> npt.NDArray[np.uint8]:
    """Returns a safetensors file."""
    return pack_tensors(
        (TensorSpec(name, "F32", tensor.shape), tensor) for name, tensor in tensors.items()
    )
