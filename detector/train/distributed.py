"""Several processes that train together: who this one is, and what only the first one does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from pipeline.core.errors import ConfigError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a run.

    Attributes:
        rank: number of this one, from 0.
        local_rank: its number on this machine, which is the number of its GPU.
        world: how many there are.
    """

    rank: int = 0
    local_rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def share(self, batch_size: int) -> int:
        """Images per step of each process. Raises ConfigError where they cannot be shared evenly."""
        if batch_size % self.world:
            raise ConfigError(
                f"batch_size: wanted a multiple of the {self.world} processes, found {batch_size}; "
                f"take {batch_size // self.world * self.world or self.world}"
            )
        return batch_size // self.world

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.world > 1:
            distributed.barrier()

    def agreed(self, value: Value) -> Value:
        """What the first process says."""
        if self.world == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, src=0)
        return said[0]


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Join the processes that torchrun started, if it did; leave them at the end."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Team()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(distributed.get_rank(), int(os.environ.get("LOCAL_RANK", "0")), world)
    finally:
        distributed.destroy_process_group()
