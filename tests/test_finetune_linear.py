"""A linear layer of few rows gives what PyTorch's own gives, whatever their number."""

import pytest
import torch
from torch.nn import functional as F

from finetune.linear import Linear, linear


@pytest.mark.parametrize("rows", [*range(35), 63, 64, 65, 127, 128, 129])
@torch.inference_mode()
def test_any_number_of_rows_equals_torch(rows: int) -> None:
    torch.manual_seed(rows)
    x, weight, bias = torch.randn(rows, 24), torch.randn(40, 24), torch.randn(40)
    for own in (bias, None):
        out = linear(x, weight, own)
        assert out.shape == (rows, 40)
        torch.testing.assert_close(out, F.linear(x, weight, own), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (4,), (9,), (40,), (130,), (2, 3)])
@torch.inference_mode()
def test_16_bit_layers_round_the_exact_result_whatever_computes_them(
    dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(len(shape))
    x, weight, bias = (torch.randn(*size).to(dtype) for size in ((*shape, 512), (2100, 512), (2100,)))
    for own in (bias, None):
        out = linear(x, weight, own)
        exact = F.linear(x.double(), weight.double(), None if own is None else own.double())
        assert (out.dtype, out.shape) == (dtype, (*shape, 2100))
        torch.testing.assert_close(out.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-3)


@torch.inference_mode()
def test_the_layer_gives_rows_as_kernels_want_them() -> None:
    layer = Linear(24, 40)
    out = layer(torch.randn(31, 24))
    assert out.is_contiguous()
    assert layer(torch.randn(2, 31, 24)).shape == (2, 31, 40)


def test_gradients_go_through_it() -> None:
    layer, x = Linear(24, 40), torch.randn(31, 24)
    layer(x).sum().backward()
    expected = x.sum(0).expand(40, 24)
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, expected, rtol=1e-4, atol=1e-4)
