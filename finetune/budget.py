"""How much a model computes at once, sized to the memory at hand."""

from dataclasses import dataclass

import psutil
import torch

from finetune.cgroups import room_in_group
from finetune.errors import FinetuneError
from finetune.transformer import Transformer

GIB = 2**30
_SHARE = 0.5  # of the free memory of a device
_FEW = 64  # tokens in a pass below which halving is no help
# Tokens in a pass from which on a device is busy: more would only take memory.
_BUSY = {"cpu": 4096, "mps": 8192, "cuda": 32768}


@dataclass
class Budget:
    """What may be in memory at once, beside the weights.

    Attributes:
        tokens: In one pass; a longer row goes alone.
        kept: Tokens whose keys and values are kept from pass to pass.
        logits: Rows of logits.
    """

    tokens: int
    kept: int
    logits: int

    def halve(self) -> bool:
        """Take half of it, after memory has run out; False where that is no help any more."""
        if self.tokens < 2 * _FEW:
            return False
        self.tokens, self.kept, self.logits = self.tokens // 2, self.kept // 2, max(1, self.logits // 2)
        return True


def budget_for(model: Transformer, memory: float | None = None) -> Budget:
    """As much as keeps the device busy, in the memory there is.

    Args:
        model: The model, on its device.
        memory: GiB for all of it; half of what is free when None.

    Raises:
        FinetuneError: If one prompt as long as the model's context does not fit.
    """
    config, size = model.config, model.tokens.weight.element_size()
    in_pass = (6 * config.width + 3 * config.inner_width) * size  # the residual stream, queries to values, inner layer
    in_trunk = 2 * config.n_layers * config.kv_heads * config.head_width * size
    per_logits = 3 * 4 * config.vocab_size  # they are float32 whatever the weights are, and are copied twice
    room = GIB * memory if memory else _SHARE * free_bytes(model.device)
    longest = config.context_length * (in_pass + in_trunk) + per_logits
    if memory and room < longest:
        raise FinetuneError(
            f"--memory {memory:g}: a prompt as long as the model's context takes {longest / GIB:.2g} GiB; "
            f"give at least that"
        )
    busy = _BUSY.get(model.device.type, 4096)
    return Budget(
        tokens=max(_FEW, min(busy, int(0.5 * room / in_pass))),
        kept=max(config.context_length, min(8 * busy, int(0.35 * room / in_trunk))),
        logits=max(1, min(512, int(0.15 * room / per_logits))),
    )


def free_bytes(device: torch.device) -> int:
    """Memory of the device that nothing uses, and a container does not keep from us."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available, room = int(psutil.virtual_memory().available), room_in_group()
    return available if room is None else min(available, room)
