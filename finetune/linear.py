"""Linear layers that are quick where PyTorch's are not: for few rows, and in types that a CPU only imitates."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.arithmetic import multiplies

_FEW = 128  # rows up to which, on a CPU, the weights are better taken as the left factor
_TILE = 8  # rows that BLAS multiplies together; what is left over costs as much as several tiles
_MANY = 32  # rows from which on the weights are better taken in pieces
_PIECE = 1024  # outputs of a piece
_SOME = 4  # rows from which on widening weights to float32 is quicker than imitating their type
_CACHED = 2**20  # float32 weights that stay in a CPU's cache between being widened and being multiplied


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`; of few rows on a CPU one whose result may lie transposed in memory.

    A CPU without the arithmetic of a 16-bit type multiplies in float32 and rounds the result, which is what
    arithmetic of that type does: products of 16-bit numbers are exact in float32, where they are summed.
    """
    if weight.is_mkldnn:  # laid out by `finetune.prepack`
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return out
    plain = torch.is_grad_enabled() or x.dtype != weight.dtype or torch.is_autocast_enabled("cpu")
    if plain or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    rows = x.shape[:-1].numel()
    if not multiplies(x.dtype, "cpu"):
        return (_widened if rows >= _SOME else F.linear)(x, weight, bias)
    return F.linear(x, weight, bias) if x.dim() != 2 or rows > _FEW else _weights_first(x, weight, bias)


def _weights_first(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer with the weights as the left factor.

    With few rows BLAS spends more time on rearranging the weights than on multiplying when they are the right
    factor; as the left one GPT-2's layers take half to three quarters of the time. Rows of zeros fill the last
    tile: 31 rows would take half as long again as 32. With many rows the weights go in pieces, whose results stay in
    the cache: GPT-2's head takes a quarter less.
    """
    rows = len(x)
    if rows >= _TILE - 1 and rows % _TILE:
        x = F.pad(x, (0, 0, 0, -rows % _TILE))
    out = x.new_empty(len(weight), len(x))
    size = _PIECE if rows >= _MANY else max(1, len(weight))
    for piece in (slice(begin, begin + size) for begin in range(0, len(weight), size)):
        if bias is None:
            torch.mm(weight[piece], x.t(), out=out[piece])
        else:
            torch.addmm(bias[piece].unsqueeze(1), weight[piece], x.t(), out=out[piece])
    return out.t()[:rows]


def _widened(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer in float32, rounded to the dtype of x; the weights in pieces that never leave the cache."""
    wide, size = x.float(), max(_TILE, _CACHED // weight.shape[1])
    out = x.new_empty(*x.shape[:-1], len(weight))
    for piece in (slice(begin, begin + size) for begin in range(0, len(weight), size)):
        out[..., piece] = linear(wide, weight[piece].float(), None if bias is None else bias[piece].float())
    return out


class Linear(nn.Linear):
    """A linear layer by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out), as kernels want it in memory."""
        return linear(x, self.weight, self.bias).contiguous()
