"""Memory on the way: what to lower when it runs out, and freed memory that goes back at once."""

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finetune.errors import FinetuneError
from finetune.recipes import TrainConfig

_TIMES = 6  # memory is given back in one backward pass
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's mallopt
_NEVER, _USUAL_TRIM, _USUAL_MAPS = 2**31 - 1, 128 * 1024, 65536
_WORTH_IT = 100_000_000  # bytes of weights; a small model's steps are shorter than the giving back
_LARGE = 4_000_000  # bytes from which a block is mapped on its own: the gradients, not the activations


@contextmanager
def freed_memory_given_back(blocks: Sequence[nn.Module], device: torch.device) -> Iterator[None]:
    """Lower the peak of a training step on a CPU while this is on.

    On the way back activations are freed and gradients made; the C library's allocator keeps what was freed,
    in pieces too small for a gradient. With gradients apart from activations, and these given back to the
    system every few blocks, a step of GPT-2's smallest takes a tenth less at its peak, and as long as before.
    """
    size = sum(weight.numel() * weight.element_size() for block in blocks for weight in block.parameters())
    library = _glibc() if device.type == "cpu" and size >= _WORTH_IT else None
    if library is None:
        yield
        return
    library.mallopt(_M_MMAP_THRESHOLD, _LARGE)

    def give_back(_: Tensor) -> None:
        library.malloc_trim(0)

    def on_the_way_back(module: nn.Module, given: Any, out: Tensor) -> None:
        if out.requires_grad:
            out.register_hook(give_back)  # type: ignore[no-untyped-call]

    handles = [block.register_forward_hook(on_the_way_back) for block in blocks[:: max(1, len(blocks) // _TIMES)]]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Keep what is freed while this is on: passes of like size follow each other on a CPU.

    Otherwise the C library gives every large tensor back to the system and asks for it anew, zeroed, page by
    page: a tenth of the time of a pass of GPT-2's smallest.
    """
    library = _glibc() if device.type == "cpu" else None
    if library is None:
        yield
        return
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_M_MMAP_MAX, _USUAL_MAPS)
        library.mallopt(_M_TRIM_THRESHOLD, _USUAL_TRIM)
        library.malloc_trim(0)


def _glibc() -> Any:
    """The C library, where it is glibc."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "malloc_trim") else None


@contextmanager
def enough_memory(config: TrainConfig) -> Iterator[None]:
    """Say what to lower when a step runs out of memory.

    Raises:
        FinetuneError: In the place of PyTorch's own error.
    """
    with _or_else(lambda: _out_of_memory(config)):
        yield


@contextmanager
def room_for_weights(source: str) -> Iterator[None]:
    """Say whose weights there is no memory for.

    Raises:
        FinetuneError: In the place of PyTorch's own error.
    """
    advice = "free some, take a smaller model, or mend its config.json if it says too much"
    with _or_else(lambda: FinetuneError(f"{source}: out of memory for its weights; {advice}")):
        yield


@contextmanager
def _or_else(said: Callable[[], FinetuneError]) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise said() from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # What PyTorch's CPU allocator raises has no class of its own.
    return isinstance(error, RuntimeError) and "alloc" in str(error) and "memory" in str(error)


def _out_of_memory(config: TrainConfig) -> FinetuneError:
    ways = []
    if config.batch_size > 1:
        half = config.batch_size // 2
        ways.append(f"--batch-size {half} --accumulate {config.accumulate * -(-config.batch_size // half)}")
    if not config.gradient_checkpointing:
        ways.append("--gradient-checkpointing")
    ways.append("a smaller --max-length")
    if config.lora_rank is None:
        ways.append("--lora-rank 16")
    return FinetuneError(f"out of memory with --batch-size {config.batch_size}; try {' or '.join(ways)}")
