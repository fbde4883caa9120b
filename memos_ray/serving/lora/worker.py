"""What runs in each of vLLM's workers: adapters are put into it from memory, not from a path.

vLLM itself can load adapters from folders only. This does what its loader does, with tensors; the
manager that it puts them into is vLLM's own, so that a request finds them there by their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from memos_ray.core.parameter.payload import read_tensors
from memos_ray.serving.kv.desk import open_desk
from memos_ray.serving.lora import cpu_arithmetic

if TYPE_CHECKING:
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager


class AdapterExtension:
    """Methods that vLLM adds to its worker, called by name; see `carriers.WorkerCarrier`."""

    model_runner: Any

    def memos_hold_adapter(
        self, number: int, config: dict[str, Any], place: str, name: str
    ) -> str | None:
        """Takes an adapter into this worker's host memory.

        Args:
            config: as in PEFT's `adapter_config.json`.
            place: the desk where its safetensors file lies.
            name: of the file there.

        Returns:
            Why this model cannot have it, or nothing.
        """
        laid = open_desk(place).look(name, 0)
        if laid is None:
            return "its bytes are gone"
        try:
            model = _model(self.model_runner.lora_manager, number, config, _copied(laid))
        except ValueError as error:
            # vLLM's messages speak of the configuration and of names, never of weights.
            return str(error)
        self.model_runner.lora_manager._adapter_manager.add_adapter(model)
        return None

    def memos_place_adapters(self, numbers: list[int]) -> None:
        """Fills the slots with exactly these adapters."""
        manager = self.model_runner.lora_manager._adapter_manager
        cpu_arithmetic.install(manager)
        for number in manager.list_adapters():
            if number not in numbers:
                manager.deactivate_adapter(number)
        for number in numbers:
            manager.activate_adapter(number)

    def memos_drop_adapter(self, number: int) -> None:
        """Takes an adapter out of memory; an absent one is fine."""
        self.model_runner.lora_manager.remove_adapter(number)


def _copied(data: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[str, torch.Tensor]:
    """Copies an adapter's tensors: vLLM scales them in place, and these bytes are others' too."""
    found: dict[str, torch.Tensor] = {}
    for spec, tensor in read_tensors(data):
        copied = torch.from_numpy(tensor.copy())
        found[spec.name] = copied.view(torch.bfloat16) if spec.dtype == "BF16" else copied
    return found


def _model(
    manager: LRUCacheWorkerLoRAManager,
    number: int,
    config: Mapping[str, Any],
    tensors: dict[str, torch.Tensor],
) -> LoRAModel:
    """Returns an adapter in vLLM's form.

    Raises:
        ValueError: vLLM cannot apply all of it.
    """
    from vllm.lora.peft_helper import PEFTHelper

    helper = PEFTHelper.from_dict(
        {**config, "vllm_max_position_embeddings": manager.max_position_embeddings}
    )
    helper.validate_legal(manager.lora_config)
    layers = manager._adapter_manager
    mapper = getattr(layers.model, "hf_to_vllm_mapper", None)
    model = manager._lora_model_cls.from_lora_tensors(
        lora_model_id=number,
        tensors=tensors,
        peft_helper=helper,
        device="cpu",
        dtype=manager.lora_config.lora_dtype,
        model_vocab_size=manager.vocab_size,
        weights_mapper=None if mapper is None else mapper.get_rename_mapper(),
        skip_prefixes=getattr(layers.model, "lora_skip_prefixes", None),
    )
    # What vLLM has no layer for it would leave out without a word.
    known = {part for name in layers.modules for part in layers.packed_modules.get(name, [name])}
    unknown = sorted(set(model.loras) - known)
    if unknown or len(model.loras) * 2 != len(tensors):
        raise ValueError(f"the engine has no layers for {unknown or 'some tensors'}")
    return model
