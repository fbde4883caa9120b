"""Workers that share one training: each computes a part of a step, and all take the same step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

import torch
import torch.distributed as dist

_TIMEOUT = timedelta(minutes=10)


class Group(Protocol):
    """The workers of one training, as one of them sees them.

    Every worker makes the same calls in the same order; each waits for the others.

    Attributes:
        rank: which one this is, from 0. The first reads and writes the checkpoints.
        size: how many there are.
    """

    @property
    def rank(self) -> int:
        """See the class."""
        ...

    @property
    def size(self) -> int:
        """See the class."""
        ...

    def total(self, number: float) -> float:
        """Returns the sum of what all workers say."""
        ...

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Puts the sum over all workers in the place of each tensor: the same bits everywhere."""
        ...

    def spread(self, tensors: Sequence[torch.Tensor]) -> None:
        """Puts what the first worker has in the place of each tensor."""
        ...


class Alone:
    """A training of one worker. Implements `Group`."""

    rank = 0
    size = 1

    def total(self, number: float) -> float:
        """See `Group`."""
        return number

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """See `Group`."""

    def spread(self, tensors: Sequence[torch.Tensor]) -> None:
        """See `Group`."""


ALONE = Alone()


class ProcessGroup:
    """Workers in processes of their own, by `torch.distributed`. Implements `Group`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def total(self, number: float) -> float:
        """See `Group`."""
        said = torch.tensor([number], dtype=torch.float64, device=self._device)
        dist.all_reduce(said)
        return float(said.item())

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """See `Group`; one message for all of them."""
        flat = torch.cat([each.reshape(-1) for each in tensors])
        dist.all_reduce(flat)
        start = 0
        for each in tensors:
            each.copy_(flat[start : start + each.numel()].view_as(each))
            start += each.numel()

    def spread(self, tensors: Sequence[torch.Tensor]) -> None:
        """See `Group`."""
        for each in tensors:
            dist.broadcast(each, src=0)


class Meeting:
    """Where the workers of a training find each other: in the process of the first."""

    def __init__(self, host: str) -> None:
        """Opens a port on this machine, which `host` names to the others."""
        # Whichever port is free: nobody can take it before the others know it.
        self._store = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False)

    @property
    def address(self) -> tuple[str, int]:
        """What the others need to know."""
        return self._store.host, self._store.port

    @contextmanager
    def joined(self, size: int, device: str) -> Iterator[Group]:
        """Is the first worker of a group for a while."""
        with _group(self._store, 0, size, device) as group:
            yield group


@contextmanager
def joined(address: tuple[str, int], rank: int, size: int, device: str) -> Iterator[Group]:
    """Is a worker of a group for a while.

    Args:
        address: of the `Meeting` in the process of the first one.
        device: of torch.
    """
    with _group(dist.TCPStore(*address, is_master=False), rank, size, device) as group:
        yield group


@contextmanager
def _group(store: dist.TCPStore, rank: int, size: int, device: str) -> Iterator[Group]:
    chosen = torch.device(device)
    dist.init_process_group(
        "gloo" if chosen.type == "cpu" else "nccl",
        store=store,
        rank=rank,
        world_size=size,
        timeout=_TIMEOUT,
    )
    try:
        yield ProcessGroup(chosen)
    finally:
        dist.destroy_process_group()
