"""Hugging Face weights and configuration of GPT-2 models, and our own: read, checked, written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from finetune.errors import FinetuneError
from finetune.presets import ModelConfig
from finetune.transformer import Transformer

# Ours to theirs. GPT-2's linear layers are stored as (in, out), PyTorch's as (out, in).
_TOP = {"tokens.weight": "wte.weight", "positions.weight": "wpe.weight", "norm": "ln_f"}
_BLOCK = {
    "norm1": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "norm2": "ln_2",
    "up": "mlp.c_fc",
    "down": "mlp.c_proj",
}
_TURNED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def hf_name(ours: str) -> str:
    """What GPT-2's published weights call one of our tensors, without the `transformer.` prefix."""
    if ours in _TOP:
        return _TOP[ours]
    if ours.startswith("blocks."):
        _, number, module, kind = [*ours.split(".", 2)[:2], *ours.split(".", 2)[2].rsplit(".", 1)]
        return f"h.{number}.{_BLOCK[module]}.{kind}"
    module, kind = ours.rsplit(".", 1)
    return f"{_TOP[module]}.{kind}"


def read_config(folder: Path) -> ModelConfig:
    """The shape that a Hugging Face `config.json` describes.

    Raises:
        FinetuneError: If there is none, or it describes something other than a plain GPT-2.
    """
    path = folder / "config.json"
    try:
        raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FinetuneError(f"{folder} is no model folder: it holds no config.json") from None
    except ValueError as error:
        raise FinetuneError(f"{path} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise FinetuneError(f"{path}: wanted an object, found {type(raw).__name__}")
    if raw.get("model_type") != "gpt2":
        found = raw.get("model_type") or raw.get("architectures") or "nothing"
        raise FinetuneError(
            f"{path}: wanted model_type gpt2, found {found}; serve other architectures behind an endpoint "
            f"and name it as openai:MODEL@URL"
        )
    _refuse_variants(path, raw)
    try:
        return ModelConfig(
            vocab_size=_size(raw, "vocab_size"),
            context_length=_size(raw, "n_positions"),
            width=_size(raw, "n_embd"),
            n_layers=_size(raw, "n_layer"),
            n_heads=_size(raw, "n_head"),
            norm_eps=float(raw.get("layer_norm_epsilon", 1e-5)),
        )
    except (FinetuneError, TypeError, ValueError) as error:
        raise FinetuneError(f"{path}: {error}") from None


def _size(raw: dict[str, Any], field: str) -> int:
    value = raw.get(field)
    if not isinstance(value, int) or value < 1:
        raise FinetuneError(f"{field}: wanted a whole number from 1, found {'none' if value is None else repr(value)}")
    return value


def _refuse_variants(path: Path, raw: dict[str, Any]) -> None:
    """Settings under which the same tensors mean another function."""
    plain = {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "n_inner": (None, 4 * raw.get("n_embd", 0)),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "tie_word_embeddings": (True,),
    }
    for field, allowed in plain.items():
        if field in raw and raw[field] not in allowed:
            raise FinetuneError(f"{path}: {field} = {raw[field]!r} is not supported (wanted {allowed[0]!r})")


def hf_config(config: ModelConfig, *, end_of_text: int) -> dict[str, Any]:
    """What `config.json` says of our model."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_length,
        "n_embd": config.width,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": True,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
    }


def load_weights(
    folder: Path,
    config: ModelConfig,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Transformer:
    """A model with the weights of `model.safetensors`, or of the shards its index lists.

    Each tensor goes straight to its place, so that two copies of the model never exist.

    Raises:
        FinetuneError: If the file is missing or damaged, or a tensor is missing or of another shape.
    """
    with torch.device("meta"):
        model = Transformer(config)
    wanted = {hf_name(name): (name, tensor.shape) for name, tensor in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    for stored, tensor in _stored_tensors(folder):
        name = stored.removeprefix("transformer.")
        if name not in wanted:  # attention masks of old files, or the head, which is the embedding
            continue
        ours, shape = wanted[name]
        turned = tensor.T if name.endswith(_TURNED) else tensor
        if turned.shape != shape:
            wanted_shape = _stored_shape(name, shape)
            raise FinetuneError(f"{folder}: tensor {stored}: wanted shape {wanted_shape}, found {tuple(tensor.shape)}")
        state[ours] = turned.to(device=device, dtype=dtype, memory_format=torch.contiguous_format).contiguous()
    absent = [theirs for theirs, (ours, _) in wanted.items() if ours not in state]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        wanted_shape = _stored_shape(absent[0], wanted[absent[0]][1])
        raise FinetuneError(f"{folder}: tensor {absent[0]}{more} is missing; wanted shape {wanted_shape}, found none")
    model.load_state_dict(state, assign=True)
    return model


def _stored_shape(name: str, ours: torch.Size) -> tuple[int, ...]:
    """The shape of a tensor as GPT-2's files have it."""
    return tuple(reversed(ours)) if name.endswith(_TURNED) else tuple(ours)


def _stored_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and value of every tensor, one at a time."""
    for path in _weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (not a mapping)
                    yield name, file.get_tensor(name)
        except SafetensorError as error:
            raise FinetuneError(f"{path} is damaged ({error}); copy or download it again") from None


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise FinetuneError(f"{index} is damaged: wanted a weight_map of tensors to shards") from None
        for name in names:
            if not (folder / name).exists():
                raise FinetuneError(f"{folder}: shard {name} is missing, its index lists it")
        return [folder / name for name in names]
    raise FinetuneError(f"{folder}: wanted model.safetensors, found none")


def save_weights(path: Path, model: Transformer, *, dtype: torch.dtype = torch.float32) -> None:
    """Write `model.safetensors` as transformers' GPT2LMHeadModel reads it."""
    save_file(
        {f"transformer.{name}": tensor for name, tensor in hf_state(model, dtype=dtype)},
        path,
        metadata={"format": "pt"},
    )


def hf_state(model: Transformer, *, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
    """GPT-2's published names and layout, tensor by tensor, on the CPU."""
    for ours, tensor in model.state_dict().items():
        name = hf_name(ours)
        plain = tensor.detach().to(device="cpu", dtype=dtype)
        yield name, (plain.T if name.endswith(_TURNED) else plain).contiguous()
