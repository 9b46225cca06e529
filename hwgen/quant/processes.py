"""Several processes that train one network, as started by PyTorch's own launcher, torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hwgen.errors import HwgenError

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@dataclass(frozen=True)
class Processes:
    """How many there are, and which of them this is; one process needs no launcher."""

    count: int = 1
    rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def average(self, tensors: Iterable[Any]) -> None:
        """Replace each floating-point tensor by its mean over the processes, all in one message."""
        if self.count == 1:
            return
        import torch
        from torch import distributed

        mine = [t for t in tensors if t.is_floating_point()]
        flat = torch.cat([t.detach().reshape(-1).float() for t in mine])
        distributed.all_reduce(flat)
        flat /= self.count
        for tensor, part in zip(mine, torch.split(flat, [t.numel() for t in mine]), strict=True):
            tensor.detach().copy_(part.reshape(tensor.shape))

    def agree(self, value: Any) -> Any:
        """The leader's `value`, for all."""
        if self.count == 1:
            return value
        from torch import distributed

        held = [value]
        distributed.broadcast_object_list(held, src=0)
        return held[0]


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that torchrun started (by its WORLD_SIZE), joined while the block runs; else this one alone.

    Raises HwgenError when a GPU is asked for and there is none.
    """
    import torch
    from torch import distributed

    if device == "cuda" and not torch.cuda.is_available():
        raise HwgenError("device = 'cuda': this PyTorch finds no GPU; train with device = 'cpu'")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group(BACKENDS[device])
    try:
        yield Processes(distributed.get_world_size(), distributed.get_rank())
    finally:
        distributed.destroy_process_group()
