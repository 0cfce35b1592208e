"""Linear layers that are quick for few rows too: decoding multiplies a row for each answer that is being written."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FEW = 128  # rows up to which, on a CPU, the weights are better taken as the left factor
_TILE = 8  # rows that BLAS multiplies together; what is left over costs as much as several tiles


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`; of few rows on a CPU one whose result may lie transposed in memory.

    With few rows BLAS spends more time on rearranging the weights than on multiplying when they are the right
    factor; as the left one GPT-2's layers take half to three quarters of the time. Rows of zeros fill the last
    tile: 31 rows would take half as long again as 32.
    """
    few = x.dim() == 2 and x.shape[0] <= _FEW and x.device.type == "cpu"
    if not few or torch.is_grad_enabled() or x.dtype != weight.dtype or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight, bias)
    rows = x.shape[0]
    if rows >= _TILE - 1 and rows % _TILE:
        x = F.pad(x, (0, 0, 0, -rows % _TILE))
    out = torch.mm(weight, x.t()) if bias is None else torch.addmm(bias.unsqueeze(1), weight, x.t())
    return out.t()[:rows]


class Linear(nn.Linear):
    """A linear layer by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out), as kernels want it in memory."""
        return linear(x, self.weight, self.bias).contiguous()
