"""Cross entropy of the head's predictions, in chunks, so that the logits of a whole pass never exist."""

from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 2**26  # of one chunk's logits in float32: 332 rows of GPT-2's vocabulary


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Sum over tokens of the cross entropy in nats, times `scale`.

    The gradient is computed together with the loss, chunk by chunk: what is kept for the way back is the size
    of `hidden` and of `weight`, not of the logits. On the way back the weight's is put or added into
    `weight.grad` itself, since a tied embedding has a second one and autograd would add them in a third.

    Args:
        hidden: (M, width) hidden states.
        weight: (vocab, width) of the head.
        targets: (M,) ids.
        scale: One factor for all tokens, or (M,) one for each.

    Returns:
        A scalar in float32.
    """
    scales = torch.as_tensor(scale, dtype=torch.float32, device=hidden.device).expand(len(targets))
    out: Tensor = _HeadLoss.apply(hidden, weight, targets, scales)  # type: ignore[no-untyped-call]
    return out


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor) -> Tensor:
        dtype = _compute_dtype(hidden)
        matrix, rows = weight.to(dtype), hidden.to(dtype)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = None
        total = torch.zeros((), device=hidden.device)
        size = max(1, CHUNK_BYTES // (4 * len(weight)))
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = (rows[part] @ matrix.T).float()  # (chunk, vocab)
            picked = targets[part, None]
            normal = logits.logsumexp(-1, keepdim=True)
            total += ((normal - logits.gather(1, picked))[:, 0] * scales[part]).sum()
            if grad_hidden is None and not needs_weight:
                continue
            # The softmax less one at the target, in the logits' own memory.
            slope = logits.sub_(normal).exp_().scatter_add_(1, picked, torch.full_like(normal, -1.0))
            slope = slope.mul_(scales[part, None]).to(dtype)
            if grad_hidden is not None:
                grad_hidden[part] = slope @ matrix
            if needs_weight:
                grad_weight = _added(grad_weight, slope, rows[part], weight.dtype)
        ctx.grad_hidden, ctx.grad_weight, ctx.weight = grad_hidden, grad_weight, weight
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, None]:
        (grad,) = grads
        hidden, weight = ctx.grad_hidden, ctx.grad_weight
        ctx.grad_hidden = ctx.grad_weight = None
        if grad.device.type != "cpu" or float(grad) != 1:  # to look would make a GPU wait
            hidden = None if hidden is None else hidden.mul_(grad)
            weight = None if weight is None else weight.mul_(grad)
        if weight is not None:
            ctx.weight.grad = weight if ctx.weight.grad is None else ctx.weight.grad.add_(weight)
        return hidden, None, None, None


def _added(total: Tensor | None, slope: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight's gradient (vocab, width) with another chunk's part in it."""
    if total is None:
        return (slope.T @ rows).to(dtype)
    if slope.dtype == total.dtype:
        return total.addmm_(slope.T, rows)
    return total.add_(slope.T @ rows)


def _compute_dtype(hidden: Tensor) -> torch.dtype:
    """What products are computed in: autocast's type while it is on."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
