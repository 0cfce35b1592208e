"""The shape of a model, and the published shapes that have a name. No torch: names are looked up at start-up."""

from dataclasses import dataclass
from typing import Literal

from finetune.errors import FinetuneError

Family = Literal["gpt2", "llama", "qwen2", "qwen3"]


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3.1's stretching of rotary positions (Grattafiori et al. 2024, arXiv:2407.21783).

    Attributes:
        factor: By how much the slow frequencies are slowed.
        low_freq_factor: Wave lengths over `original_context / low_freq_factor` are slowed by the whole factor.
        high_freq_factor: Wave lengths under `original_context / high_freq_factor` stay as they are.
        original_context: Positions the model was first trained on.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a model; the defaults are GPT-2's smallest.

    Attributes:
        family: GPT-2 has layer norms, learnt positions and a GELU; the others RMS norms, rotary positions and
            a gated SiLU. Qwen3 also norms each head's queries and keys.
        vocab_size: Rows of the token embedding.
        context_length: Positions the model has learnt, in tokens.
        width: Size of the residual stream.
        n_layers: Blocks.
        n_heads: Attention heads in each block.
        n_kv_heads: Heads of keys and values, each shared by as many of the others; as many when None.
        head_size: Size of a head; `width / n_heads` when None.
        inner: Width inside the feed-forward layer; four times `width` when None.
        norm_eps: Epsilon of the norms.
        qkv_bias: Whether queries, keys and values have a bias.
        out_bias: Whether the attention's output has one.
        mlp_bias: Whether the feed-forward layers have one.
        tied: Whether the head is the token embedding turned round.
        rope_theta: Base of the rotary frequencies.
        rope_scaling: Stretching of the rotary positions, if any.
    """

    family: Family = "gpt2"
    vocab_size: int = 50257
    context_length: int = 1024
    width: int = 768
    n_layers: int = 12
    n_heads: int = 12
    n_kv_heads: int | None = None
    head_size: int | None = None
    inner: int | None = None
    norm_eps: float = 1e-5
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    tied: bool = True
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        if self.head_size is None and self.width % self.n_heads:
            raise FinetuneError(f"width {self.width} must be a multiple of n_heads {self.n_heads}")
        if self.n_heads % self.kv_heads:
            raise FinetuneError(f"n_heads {self.n_heads} must be a multiple of n_kv_heads {self.kv_heads}")
        if self.rotary and self.head_width % 2:
            raise FinetuneError(f"rotary positions want an even head size, found {self.head_width}")

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_heads or self.n_heads

    @property
    def head_width(self) -> int:
        """Size of a head."""
        return self.head_size or self.width // self.n_heads

    @property
    def inner_width(self) -> int:
        """Width inside the feed-forward layer."""
        return self.inner or 4 * self.width

    @property
    def rotary(self) -> bool:
        """Whether positions turn queries and keys; else they are learnt and added."""
        return self.family != "gpt2"

    @property
    def qk_norm(self) -> bool:
        """Whether each head's queries and keys are normed."""
        return self.family == "qwen3"


PRESETS = {
    "gpt2": ModelConfig(),
    "gpt2-medium": ModelConfig(width=1024, n_layers=24, n_heads=16),
    "gpt2-large": ModelConfig(width=1280, n_layers=36, n_heads=20),
    "gpt2-xl": ModelConfig(width=1600, n_layers=48, n_heads=25),
}
