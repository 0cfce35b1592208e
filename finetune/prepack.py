"""Weights of linear layers laid out as a CPU's kernels read them, for models that only answer.

BLAS rearranges a weight each time it is multiplied, which with few rows costs as much as the product. oneDNN's kernels
take weights that lie in their blocks already.
"""

import torch
from torch import Tensor, nn

from finetune.budget import free_bytes
from finetune.lora import AdaptedLinear
from finetune.memory import out_of_memory
from finetune.transformer import Transformer

_COPIES = 4  # copies of a tied head's weight there must be memory for before one is made


def prepack(model: Transformer) -> None:
    """Lay the weights out in place; done again, or where it is no help, it changes nothing.

    The model then gives what it gave before, but can be neither trained nor saved. It takes no more memory, except
    where the head is the token embedding: rows of that are looked up, so the head gets a copy if there is room.
    On the way there is one weight more: where memory does not suffice for it, what is left lies as it did.
    """
    if not _helps(model.head_weight):
        return
    try:
        _lay_out(model)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise


def _lay_out(model: Transformer) -> None:
    head = model.head_weight
    for layer in model.modules():
        if isinstance(layer, nn.Linear | AdaptedLinear):
            layer.weight = nn.Parameter(_laid_out(layer.weight), requires_grad=False)
    room = free_bytes(model.device) > _COPIES * head.numel() * head.element_size()
    if model.unembed is None and model.laid_out_head is None and room:
        model.laid_out_head = _laid_out(head)


def _helps(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
    )


def _laid_out(weight: Tensor) -> Tensor:
    if weight.is_mkldnn:
        return weight
    blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
    return blocks
