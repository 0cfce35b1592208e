"""AdamW, the learning rate over the steps, and the norm of the gradient."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from finetune.recipes import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over what is trained (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Norms and biases, the one-dimensional weights, are not decayed unless `decay_all`. Its moments are made at
    once: a run that will not fit says so before the first step.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    decayed = [w for w in weights if config.decay_all or w.dim() > 1]
    kept = [w for w in weights if not (config.decay_all or w.dim() > 1)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    for weight in weights:
        optimizer.state[weight] = {
            "step": torch.zeros((), dtype=torch.float32, device=weight.device),
            "exp_avg": torch.zeros_like(weight, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(weight, memory_format=torch.preserve_format),
        }
    return optimizer


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate of a step, counted from 1, of so many.

    It rises linearly over the warm-up, then stays, or falls as half a cosine (Loshchilov and Hutter 2017,
    arXiv:1608.03983, without restarts), which would be at nothing one step after the last: no step learns nothing.
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    highest = max(1, config.warmup_steps)  # the step at which it is
    done = (step - highest) / (steps - highest + 1)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use this learning rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def gradients(weights: Iterable[Tensor]) -> list[Tensor]:
    """What gradients there are."""
    return [weight.grad for weight in weights if weight.grad is not None]


@torch.no_grad()
def clip(grads: list[Tensor], most: float) -> float:
    """The norm of all gradients together; where it is above `most` (0: any), they are scaled down to it in place."""
    norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))))
    if most and norm > most:
        torch._foreach_mul_(grads, most / (norm + 1e-6))
    return norm
