"""Rotary positions: queries and keys are turned by angles that grow with their position.

Su et al. 2021, "RoFormer", arXiv:2104.09864, in the layout of Llama's Hugging Face weights: element i of a
head turns with element i + half.
"""

import math

import torch
from torch import Tensor

from finetune.presets import ModelConfig, RopeScaling


def frequencies(config: ModelConfig) -> Tensor:
    """Radians a position, (head size / 2,) in float32."""
    half = torch.arange(0, config.head_width, 2, dtype=torch.float32) / config.head_width
    plain = 1.0 / config.rope_theta**half
    return plain if config.rope_scaling is None else _stretched(plain, config.rope_scaling)


def _stretched(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Slow waves longer than the original context, leave short ones, and blend between."""
    lengths = 2 * math.pi / plain  # positions a turn
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((scaling.original_context / lengths - low) / (high - low)).clamp(0, 1)
    return kept * plain + (1 - kept) * plain / scaling.factor


def angles(places: Tensor, frequencies: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of positions (..., T): (..., T, 1, head size / 2), the 1 for the heads."""
    turned = places[..., None, None].float() * frequencies.to(places.device)
    return turned.cos().to(dtype), turned.sin().to(dtype)


def turn(x: Tensor, by: tuple[Tensor, Tensor]) -> Tensor:
    """Turn (..., T, heads, head size) by `angles`."""
    cos, sin = by
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
