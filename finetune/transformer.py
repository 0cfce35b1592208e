"""The decoder: GPT-2's architecture on PyTorch's scaled dot-product attention.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners": pre-norm blocks, learned
positions, a head tied to the token embedding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finetune.presets import ModelConfig


class KVCache:
    """Keys and values of the tokens a batch has seen, with room for `length` of them in each row.

    Rows may hold different numbers of tokens (`lengths`): a batch of prompts is padded on the right, and
    what is written next in a row overwrites its padding.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        length: int,
        *,
        device: torch.device | str,
        dtype: torch.dtype,
    ):
        """Reserve room; nothing is held yet."""
        shape = (
            batch_size,
            config.n_heads,
            length,
            config.width // config.n_heads,
        )  # (B, heads, S, head size)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.n_layers)]
        self.lengths = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.longest = 0  # the largest of `lengths`, kept here so that no layer has to ask the device

    def advance(self, by: Tensor) -> None:
        """Count (B,) tokens as held."""
        self.lengths = self.lengths + by
        self.longest = int(self.lengths.max())

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these, given as (B',) indices."""
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]
        self.lengths = self.lengths[rows]
        self.longest = int(self.lengths.max()) if len(rows) else 0

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put (B, heads, T, head size) behind what each row holds; the layer's keys and values up to there."""
        new = keys.shape[2]
        reach = self.longest + new
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]  # (B, 1)
        places = self.lengths[:, None] + torch.arange(new, device=keys.device)  # (B, T)
        self.keys[layer][rows, :, places] = keys.transpose(1, 2)
        self.values[layer][rows, :, places] = values.transpose(1, 2)
        return self.keys[layer][:, :, :reach], self.values[layer][:, :, :reach]


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: ModelConfig):
        """One projection makes queries, keys and values together."""
        super().__init__()
        self.n_heads = config.n_heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, cache: KVCache | None, layer: int, mask: Tensor | None) -> Tensor:
        """(B, T, width) to (B, T, width); `mask` (B, 1, T, S) says which of the cache's S keys count."""
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, heads, T, head size)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        if cache is not None:
            k, v = cache.write(layer, k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention, then a feed-forward layer of four times the width, each on a normed copy."""

    def __init__(self, config: ModelConfig):
        """See `ModelConfig`."""
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor, cache: KVCache | None, layer: int, mask: Tensor | None) -> Tensor:
        """(B, T, width) to (B, T, width)."""
        x = x + self.attention(self.norm1(x), cache, layer, mask)
        out: Tensor = x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return out


class Transformer(nn.Module):
    """A GPT-2 language model."""

    def __init__(self, config: ModelConfig):
        """Random weights as GPT-2 starts from: normal with deviation 0.02, residual outputs scaled down."""
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context_length, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.apply(self._init)
        for name, weight in self.named_parameters():
            if name.endswith(("attention.out.weight", "down.weight")):
                nn.init.normal_(weight, std=0.02 / (2 * config.n_layers) ** 0.5)

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are kept in."""
        return self.tokens.weight.dtype

    def hidden(self, tokens: Tensor, cache: KVCache | None = None, lengths: Tensor | None = None) -> Tensor:
        """The residual stream after the last norm.

        Args:
            tokens: (B, T) ids; with a cache they continue what it holds, and it then holds them too.
            cache: Where keys and values of earlier tokens are.
            lengths: (B,) how many of the T tokens of each row are real, the rest being padding on the
                right; all of them when not given. Only a cache needs to know.

        Returns:
            (B, T, width). Rows of padding hold nothing of use.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)  # (T,)
        mask = None
        if cache is not None:
            places = cache.lengths[:, None] + places  # (B, T)
            if cache.longest:  # with an empty cache plain causal attention does, and has the faster kernel
                keys = torch.arange(cache.longest + tokens.shape[1], device=tokens.device)
                mask = (keys <= places[..., None])[:, None]  # (B, 1, T, S)
        # Padding may stand beyond the last position there is; what it holds is never read.
        x = self.tokens(tokens) + self.positions(places.clamp(max=self.config.context_length - 1))
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer, mask)
        if cache is not None:
            cache.advance(torch.full_like(cache.lengths, tokens.shape[1]) if lengths is None else lengths)
        out: Tensor = self.norm(x)
        return out

    def head(self, hidden: Tensor) -> Tensor:
        """(..., width) to (..., vocab_size) logits, by the token embedding turned round."""
        return F.linear(hidden, self.tokens.weight)

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T) ids to (B, T, vocab_size) logits; see `hidden`."""
        return self.head(self.hidden(tokens, cache))
