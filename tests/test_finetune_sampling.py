"""The likeliest token is the one that PyTorch finds, however the logits lie in memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.sampling import likeliest


@given(rows=st.integers(1, 9), words=st.integers(1, 3100), kinds=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_transposed_logits_give_the_first_of_the_largest(rows: int, words: int, kinds: int, seed: int) -> None:
    # Few kinds of numbers: most of them stand in many places, and the first counts.
    numbers = torch.randint(kinds, (words + 3, rows), generator=torch.Generator().manual_seed(seed)).float()
    logits = numbers.t()[:, :words]
    best, places = likeliest(logits)
    expected = logits.contiguous().max(-1)
    assert torch.equal(best, expected.values)
    assert torch.equal(places, expected.indices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_no_number_is_found_wherever_it_stands(dtype: torch.dtype) -> None:
    logits = torch.zeros(2500, 4, dtype=dtype)
    logits[2400, 1] = float("nan")
    logits[7, 2] = float("inf")
    logits[:, 3] = float("-inf")
    best, places = likeliest(logits.t())
    assert best.isnan().tolist() == [False, True, False, False]
    assert places.tolist() == [0, 2400, 7, 0]
