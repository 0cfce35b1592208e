"""The shape of a model, and the published shapes that have a name. No torch: names are looked up at start-up."""

from dataclasses import dataclass

from finetune.errors import FinetuneError


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a model; the defaults are GPT-2's smallest.

    Attributes:
        vocab_size: Rows of the token embedding.
        context_length: Positions the model has learnt, in tokens.
        width: Size of the residual stream.
        n_layers: Blocks.
        n_heads: Attention heads in each block; they share `width` equally.
        norm_eps: Epsilon of the layer norms.
    """

    vocab_size: int = 50257
    context_length: int = 1024
    width: int = 768
    n_layers: int = 12
    n_heads: int = 12
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        if self.width % self.n_heads:
            raise FinetuneError(f"width {self.width} must be a multiple of n_heads {self.n_heads}")


PRESETS = {
    "gpt2": ModelConfig(),
    "gpt2-medium": ModelConfig(width=1024, n_layers=24, n_heads=16),
    "gpt2-large": ModelConfig(width=1280, n_layers=36, n_heads=20),
    "gpt2-xl": ModelConfig(width=1600, n_layers=48, n_heads=25),
}
