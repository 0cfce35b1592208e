"""Several processes that train one model on their own shares of each batch, as `torchrun` starts them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from finetune.errors import FinetuneError

_BUCKET = 2**25  # bytes of gradients that are summed in one exchange


@dataclass(frozen=True)
class Team:
    """This process among those that train together.

    Attributes:
        rank: Its number; 0 writes the files and talks.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def sum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each value summed over the processes."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64, device=_exchange_device(device))
        torch.distributed.all_reduce(numbers)
        return [float(number) for number in numbers.tolist()]

    @torch.no_grad()
    def sum_gradients(self, weights: Sequence[Tensor]) -> None:
        """Replace every gradient by its sum over the processes; one that had no share of a batch adds nothing."""
        if self.size == 1:
            return
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        for bucket in _buckets([weight.grad for weight in weights if weight.grad is not None]):
            flat = torch.cat([grad.flatten() for grad in bucket])
            torch.distributed.all_reduce(flat)
            for grad, part in zip(bucket, torch.split(flat, [grad.numel() for grad in bucket]), strict=True):
                grad.copy_(part.view_as(grad))

    def agree(self, value: Any) -> Any:
        """What the leading process says."""
        if self.size == 1:
            return value
        said = [value]
        torch.distributed.broadcast_object_list(said)
        return said[0]


def _buckets(grads: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients in groups of a good size for one exchange."""
    bucket: list[Tensor] = []
    size = 0
    for grad in grads:
        bucket.append(grad)
        size += grad.numel() * grad.element_size()
        if size >= _BUCKET:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket


def _exchange_device(device: torch.device) -> torch.device:
    """NCCL has no float64 on the CPU; gloo no tensors of the GPU."""
    return device if device.type == "cuda" else torch.device("cpu")


def team_of_environment() -> Team:
    """What `torchrun` says in RANK and WORLD_SIZE; a process started otherwise is alone."""
    return Team(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def local_device(device: torch.device) -> torch.device:
    """Of several GPUs each process of a machine takes its own."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


@contextmanager
def working_together(device: torch.device) -> Iterator[Team]:
    """Meet the other processes, by NCCL on GPUs and gloo on CPUs, and part from them at the end.

    Raises:
        FinetuneError: As what is done together does, with the process's number; if another process is gone.
    """
    team = team_of_environment()
    if team.size == 1:
        yield team
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield team
    except FinetuneError as error:
        raise FinetuneError(f"process {team.rank}: {error}" if team.rank else str(error)) from None
    except RuntimeError as error:
        if not _lost_another(error):
            raise
        raise FinetuneError(f"process {team.rank}: another process stopped; what it said tells why") from None
    finally:
        torch.distributed.destroy_process_group()


def _lost_another(error: RuntimeError) -> bool:
    """Whether this is how NCCL or gloo, whose errors have no class, say that a process they waited for is gone."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
