"""What accompanies the weights of a LoRA adapter."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memos_ray.core.activation import SourceVersion
from memos_ray.core.crossing import crossing

_NAME = re.compile(r"base_model\.model\.(?P<module>[\w.]+)\.lora_(?P<half>[AB])\.weight")


@crossing
@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of an adapter, named as PEFT names it; `dtype` as in safetensors: `F32`."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@crossing
@dataclass(frozen=True, slots=True)
class AdapterOrigin:
    """Where an adapter comes from.

    Attributes:
        sources: the memories that it was taught, at their versions; any change of one makes it
            stale.
        recipe: digest of how it was trained or combined.
        seed: of all chance in that.
        parents: digests of the adapters that it was combined from.
    """

    sources: tuple[SourceVersion, ...] = ()
    recipe: str = ""
    seed: int = 0
    parents: tuple[str, ...] = ()


@crossing
@dataclass(frozen=True, slots=True)
class AdapterManifest:
    """What a LoRA adapter says of itself.

    Attributes:
        digest: names the adapter by all that decides what it does: weights, base, rank and alpha.
        base: digest of the weights of the model that it was trained on.
        rank: columns of each B, rows of each A.
        alpha: the product of B and A is scaled by alpha / rank.
        targets: last parts of the names of the layers that it changes, such as `q_proj`, sorted.
        tensors: all of them, in the order of their bytes.
        size_bytes: length of the safetensors file.
        origin: what it was made of; the digest does not depend on it.
    """

    digest: str
    base: str
    rank: int
    alpha: float
    targets: tuple[str, ...]
    tensors: tuple[TensorSpec, ...]
    size_bytes: int
    origin: AdapterOrigin = AdapterOrigin()


def module_of(tensor: str) -> tuple[str, str] | None:
    """Returns the layer that a tensor changes, and which half it is: `A` or `B`.

    Nothing for a name that is none of a LoRA adapter's.
    """
    found = _NAME.fullmatch(tensor)
    return (found["module"], found["half"]) if found else None
