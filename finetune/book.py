"""State dicts of the book's GPT model: Raschka 2024, "Build a Large Language Model (From Scratch)", chapters 4 to 7.

The names inside its `.pth` files are those of the book's modules; their tensors say everything about the model's
shape but the number of heads.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetune.errors import FinetuneError
from finetune.presets import ModelConfig
from finetune.transformer import Transformer
from finetune.weight_files import plain_tensors, read_pickle
from finetune.weights import Stored, fill, qkv_rows

SUFFIX = ".pth"
HEAD_SIZE = 64  # of every GPT-2

_TOP = {"tokens": "tok_emb", "positions": "pos_emb", "norm": "final_norm", "unembed": "out_head"}
_BLOCK = {
    "norm1": "norm1",
    "attention.out": "att.out_proj",
    "norm2": "norm2",
    "mlp.up": "ff.layers.0",
    "mlp.down": "ff.layers.2",
}
_QKV = ("att.W_query", "att.W_key", "att.W_value")
_NORM = {"weight": "scale", "bias": "shift"}
_IDLE = re.compile(r"trf_blocks\.\d+\.att\.mask")  # the causal mask, which is no weight
_WRAPPED = re.compile(r"^(_orig_mod\.|module\.)+")  # what torch.compile and data parallel training put in front


def load_book(
    path: str | Path,
    *,
    heads: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Transformer:
    """The model that a `.pth` file holds: a state dict, or one beside an optimizer's (`model_state_dict`).

    The book's head is a layer of its own. Where it still equals the token embedding, as in OpenAI's weights, the
    model is a GPT-2 with one tensor for both.

    Args:
        path: The file; it is read as tensors only, code in it never runs.
        heads: Attention heads; as many as there are times 64 in the width when None.
        device: Where the model is to be.
        dtype: What its weights are to be kept in.

    Raises:
        FinetuneError: If the file cannot be read or holds another model.
    """
    path = Path(path)
    state = _state(path)
    config = _shape(path, state, heads)
    places = _places(config)
    known = {stored.name for stored in places}
    strange = [name for name in state if name not in known and not _IDLE.fullmatch(name)]
    if strange:
        raise FinetuneError(
            f"{path}: tensor {strange[0]} has no place in the book's GPTModel; wanted the state_dict of that class"
        )
    tensors = ((name, tensor) for name, tensor in plain_tensors(path, state) if name in known)
    return fill(tensors, config, str(path), device=device, dtype=dtype, places=places)


def _state(path: Path) -> dict[str, Any]:
    """Names and tensors, without what surrounds them."""
    state = read_pickle(path)
    inner = state.pop("model_state_dict", None)
    if isinstance(inner, dict):
        state = inner
    return {_WRAPPED.sub("", str(name)): tensor for name, tensor in state.items()}


def _shape(path: Path, state: dict[str, Any], heads: int | None) -> ModelConfig:
    first = "trf_blocks.0."
    (vocab_size, width), (context_length, _), (inner, _) = (
        _matrix(path, state, f"{name}.weight") for name in ("tok_emb", "pos_emb", f"{first}ff.layers.0")
    )
    if heads is None and width % HEAD_SIZE:
        raise FinetuneError(
            f"{path}: wanted a width of whole heads of {HEAD_SIZE} as every GPT-2 has, found {width}; "
            f"load it with finetune.book.load_book(FILE, heads=N) and save it as a folder"
        )
    blocks = [int(match[1]) for name in state if (match := re.match(r"trf_blocks\.(\d+)\.", name))]
    return ModelConfig(
        vocab_size=vocab_size,
        context_length=context_length,
        width=width,
        n_layers=max(blocks) + 1,
        n_heads=heads or width // HEAD_SIZE,
        inner=None if inner == 4 * width else inner,
        qkv_bias=f"{first}att.W_query.bias" in state,
        out_bias=f"{first}att.out_proj.bias" in state,
        mlp_bias=f"{first}ff.layers.0.bias" in state,
        tied=_same(state["tok_emb.weight"], state.get("out_head.weight")),
    )


def _matrix(path: Path, state: dict[str, Any], name: str) -> tuple[int, int]:
    tensor = state.get(name)
    if not isinstance(tensor, Tensor) or tensor.dim() != 2 or not tensor.numel():
        what = "no such tensor" if tensor is None else f"shape {tuple(getattr(tensor, 'shape', ()))}"
        others = f" among names such as {next(iter(state))}" if tensor is None and state else ""
        raise FinetuneError(
            f"{path}: wanted the state_dict of the book's GPTModel with a matrix {name}, found {what}{others}; "
            f"a model of another kind is given as its Hugging Face folder"
        )
    rows, columns = tensor.shape
    return rows, columns


def _same(embedding: Tensor, head: Any) -> bool:
    return isinstance(head, Tensor) and head.dtype == embedding.dtype and torch.equal(head, embedding)


def _places(config: ModelConfig) -> list[Stored]:
    """Every weight of the book's model of this shape."""
    with torch.device("meta"):
        names = list(Transformer(config).state_dict())
    tied = [Stored("out_head.weight", "tokens.weight")] if config.tied else []
    return [stored for name in names for stored in _stored(name, config)] + tied


def _stored(ours: str, config: ModelConfig) -> Iterator[Stored]:
    module, kind = ours.rsplit(".", 1)
    kind = _NORM[kind] if "norm" in module else kind
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
    if match is None:
        yield Stored(f"{_TOP[module]}.{kind}", ours)
    elif match[2] == "attention.qkv":
        for part, rows in zip(_QKV, qkv_rows(config), strict=True):
            yield Stored(f"trf_blocks.{match[1]}.{part}.{kind}", ours, rows)
    else:
        yield Stored(f"trf_blocks.{match[1]}.{_BLOCK[match[2]]}.{kind}", ours)
