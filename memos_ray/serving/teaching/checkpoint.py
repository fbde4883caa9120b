"""The state of a training in a file: complete or not there at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

_log = logging.getLogger(__name__)
_FILE = "training.safetensors"
_STATE = "memos_training"
_FORMAT = "1"

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after some steps.

    Attributes:
        name: of the training; a state of another one is of no use.
        losses: of each step so far.
        spent_s: how long it has been training.
        weights: the adapter's, by the names of the model's parameters.
        first, second: the optimiser's moments of them.
    """

    name: str
    losses: tuple[float, ...]
    spent_s: float
    weights: Tensors
    first: Tensors
    second: Tensors


def write_checkpoint(folder: Path, state: Checkpoint) -> None:
    """Writes a state in place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    groups = (("weights", state.weights), ("first", state.first), ("second", state.second))
    tensors = {
        f"{group}/{name}": each.detach().to("cpu").contiguous()
        for group, named in groups
        for name, each in named.items()
    }
    about = {
        "format": _FORMAT,
        "name": state.name,
        "losses": list(state.losses),
        "spent_s": state.spent_s,
    }
    draft = folder / f"{_FILE}.{os.getpid()}"
    with draft.open("wb") as opened:
        opened.write(save(tensors, {_STATE: orjson.dumps(about).decode()}))
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(folder / _FILE)


def read_checkpoint(folder: Path, name: str) -> Checkpoint | None:
    """Returns the state of a training; nothing when there is none, or only another's or damage."""
    file = folder / _FILE
    if not file.is_file():
        return None
    groups: dict[str, dict[str, torch.Tensor]] = {"weights": {}, "first": {}, "second": {}}
    try:
        with safe_open(file, framework="pt") as opened:
            about: dict[str, Any] = orjson.loads((opened.metadata() or {})[_STATE])
            if about["format"] != _FORMAT or about["name"] != name:
                _log.warning("a checkpoint of another training is left alone: %s", file)
                return None
            for key in opened.keys():
                group, _, parameter = key.partition("/")
                groups[group][parameter] = opened.get_tensor(key)
        return Checkpoint(
            name, tuple(map(float, about["losses"])), float(about["spent_s"]), **groups
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        _log.warning("a damaged checkpoint is left alone: %s", file)
        return None
