"""Our tensors under the names, and in the layout, that llama.cpp expects of each family."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from finetune.errors import FinetuneError
from finetune.presets import ModelConfig
from finetune.rotary import frequencies
from finetune.transformer import Transformer
from finetune.weights import qkv_rows

_TOP = {"tokens": "token_embd", "positions": "position_embd", "norm": "output_norm", "unembed": "output"}
_BLOCK = {
    "norm1": "attn_norm",
    "attention.qkv": "attn_qkv",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "attention.out": "attn_output",
    "norm2": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
}


@dataclass(frozen=True)
class GgufTensor:
    """A tensor of the file, made when it is asked for.

    Attributes:
        name: llama.cpp's name for it. Linear weights are (out, in), as ours are.
        source: Our tensor, or the part of it that this is.
        heads: Queries or keys whose rows are to be put in llama.cpp's order for the family `llama`: so many heads.
    """

    name: str
    source: Tensor
    heads: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, which is the source's."""
        return tuple(self.source.shape)

    def make(self) -> Tensor:
        """The tensor in float32 on the CPU."""
        plain = self.source.detach().to("cpu", torch.float32)
        if self.heads is not None:
            # Hugging Face turns element i of a head with element i + half, llama.cpp turns neighbours.
            halves = plain.reshape(self.heads, 2, -1, *plain.shape[1:])  # (heads, 2, head size / 2, ...)
            plain = halves.transpose(1, 2).reshape(plain.shape)
        return plain.contiguous()


def gguf_tensors(model: Transformer) -> list[GgufTensor]:
    """Every tensor of the GGUF file.

    Raises:
        FinetuneError: If llama.cpp has no place for one of them.
    """
    _check(model.config)
    tensors = [tensor for ours, source in model.state_dict().items() for tensor in _of(ours, source, model.config)]
    tensors += _zero_biases(tensors, model.config)
    if model.config.rope_scaling is not None:
        # What llama.cpp divides each frequency by.
        plain = frequencies(replace(model.config, rope_scaling=None))
        tensors.insert(0, GgufTensor("rope_freqs.weight", plain / frequencies(model.config)))
    return tensors


def _check(config: ModelConfig) -> None:
    """Whether llama.cpp computes this shape as we do; it passes over some settings without a word."""
    wrong = None
    if config.rope_scaling is not None and config.family != "llama":
        wrong = "scaled rotary positions"
    elif config.family in ("qwen2", "qwen3") and (config.out_bias or config.mlp_bias):
        wrong = "biases outside of queries, keys and values"
    elif config.family == "qwen3" and config.qkv_bias:
        wrong = "biases of queries, keys and values"
    elif config.family in ("gpt2", "qwen2") and config.head_width * config.n_heads != config.width:
        wrong = "heads that are not as wide together as the model"
    elif config.family == "gpt2" and config.kv_heads != config.n_heads:
        wrong = "heads that share keys and values"
    if wrong:
        raise FinetuneError(f"llama.cpp knows no {wrong} in a model of the family {config.family}; export --to hf")


def _of(ours: str, source: Tensor, config: ModelConfig) -> Iterator[GgufTensor]:
    module, kind = ours.rsplit(".", 1)
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
    if not match:
        yield GgufTensor(f"{_TOP[module]}.{kind}", source)
        return
    number, inner = match.groups()
    if inner != "attention.qkv" or config.family == "gpt2":
        yield GgufTensor(f"blk.{number}.{_BLOCK[inner]}.{kind}", source)
        return
    turned = config.family == "llama"
    heads = (config.n_heads, config.kv_heads, None)
    for part, rows, count in zip("qkv", qkv_rows(config), heads, strict=True):
        yield GgufTensor(f"blk.{number}.attn_{part}.{kind}", source[slice(*rows)], count if turned else None)


def _zero_biases(tensors: list[GgufTensor], config: ModelConfig) -> list[GgufTensor]:
    """The biases that every model of the family has in llama.cpp and ours lacks, as the book's GPT-2 does."""
    always = {"gpt2": r"blk\..*\.weight", "qwen2": r"blk\.\d+\.attn_[qkv]\.weight"}.get(config.family)
    there = {tensor.name for tensor in tensors}
    wanted = {
        tensor.name.removesuffix("weight") + "bias": tensor.shape[0]
        for tensor in tensors
        if always and re.fullmatch(always, tensor.name)
    }
    return [GgufTensor(name, torch.zeros(size)) for name, size in wanted.items() if name not in there]
