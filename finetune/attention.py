"""Attention in parts: to what came before and to a row's own tokens, computed apart and put together exactly.

Softmax over two sets of keys is the mean of the softmax over each, weighted by their sums of exponentials
(Milakov and Gimelshein 2018, arXiv:1805.02867), so a beginning that many rows share is read where it lies
instead of being copied into each of them.
"""

import torch
from torch import Tensor

_KERNELS = torch.ops.aten


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, mask: Tensor | None = None) -> "Part":
    """Attention with the weight it has against other keys.

    Args:
        q: (B, heads, T, head size).
        k: (B, kv heads, S, head size); heads are a multiple of kv heads, each shared by neighbours.
        v: (B, kv heads, S, head size).
        causal: Query t sees keys 0 to t; T = S.
        mask: (B, 1, T, S) numbers added to the scores, 0 or minus infinity, in the dtype of q.

    Returns:
        (B, heads, T, head size) outputs and (B, heads, T) logarithms of the sums of exponentiated scores, float32.
    """
    shared = q.shape[1] // k.shape[1]
    if shared > 1 and not causal and mask is None:
        # No query is told from another, so those that share keys may stand behind each other: nothing is copied.
        rows, heads, length, size = q.shape
        out, weight = attention(q.reshape(rows, heads // shared, shared * length, size), k, v)
        return out.reshape(q.shape), weight.reshape(rows, heads, length)
    if shared > 1:
        k, v = (part.repeat_interleave(shared, dim=1) for part in (k, v))
    if q.device.type == "cpu" and not (mask is not None and mask.dtype != q.dtype):
        return _on_cpu(q, k, v, causal, mask)
    if q.is_cuda and mask is None:
        return _on_cuda(q, k, v, causal)
    return _by_hand(q, k, v, causal, mask)


Part = tuple[Tensor, Tensor]


def together(one: Part, other: Part) -> Tensor:
    """Attention over the keys of both parts, from (..., head size) outputs and (...) weights."""
    share = torch.sigmoid(other[1] - one[1]).unsqueeze(-1)
    return torch.lerp(one[0], other[0], share.to(one[0].dtype))


def joined(parts: list[Tensor]) -> Tensor:
    """Parts behind each other; a single one as it is, which `torch.cat` would copy."""
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _on_cpu(q: Tensor, k: Tensor, v: Tensor, causal: bool, mask: Tensor | None) -> Part:
    # The kernel behind `scaled_dot_product_attention`, which does not pass its second result on.
    out, weight = _KERNELS._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal, attn_mask=mask)
    return out, weight


def _on_cuda(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Part:
    if q.dtype == torch.float32:
        out, weight, *_ = _KERNELS._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, causal)
    else:
        out, weight, *_ = _KERNELS._scaled_dot_product_flash_attention(q, k, v, 0.0, causal)
    return out, weight.narrow(-1, 0, q.shape[2])  # one kernel fills up to a multiple of 32


def _by_hand(q: Tensor, k: Tensor, v: Tensor, causal: bool, mask: Tensor | None) -> Part:
    scores = (q.float() * q.shape[-1] ** -0.5) @ k.float().transpose(-1, -2)  # (B, heads, T, S)
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    if mask is not None:
        scores = scores + mask
    weight = scores.logsumexp(-1)
    return ((scores - weight.unsqueeze(-1)).exp() @ v.float()).to(q.dtype), weight
