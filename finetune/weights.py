"""Published weights to our state dict and back, tensor by tensor, by the names that Hugging Face gives them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from finetune.architectures import published
from finetune.errors import FinetuneError
from finetune.memory import room_for_weights
from finetune.presets import ModelConfig
from finetune.safetensors_stream import write_shards
from finetune.transformer import Transformer
from finetune.weight_files import read_tensors

_ADVICE = "serve it (vLLM, llama.cpp) and name it openai:MODEL@URL"
_GPT2_BLOCK = {
    "norm1": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "norm2": "ln_2",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
}
_LLAMA_BLOCK = {
    "norm1": "input_layernorm",
    "attention.out": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "norm2": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_GPT2_TOP = {"tokens": "wte", "positions": "wpe", "norm": "ln_f"}
_LLAMA_TOP = {"tokens": "embed_tokens", "norm": "norm"}
_TURNED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # GPT-2 stores these as (in, out)
# Causal masks of old files and of the book's, and rotary frequencies: made anew by whoever needs them.
_IDLE = re.compile(r"(.*\.)?(attn\.(masked_)?bias|att\.mask|rotary_emb\.inv_freq)")
_QUANTISED = re.compile(r".*(\.SCB|qweight|qzeros|\.scales|g_idx|absmax|quant_map|quant_state.*|weight_scale.*)")
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True)
class Stored:
    """Where a published tensor has its place in ours.

    Attributes:
        name: What it is called in the file.
        ours: Our tensor.
        rows: Which of our tensor's rows it holds, all when None: Llama's q, k and v are one tensor here.
        turned: Whether it is stored as (in, out).
    """

    name: str
    ours: str
    rows: tuple[int, int] | None = None
    turned: bool = False


def stored_tensors(config: ModelConfig) -> list[Stored]:
    """Every tensor of a Hugging Face model of this shape, in our order."""
    with torch.device("meta"):
        names = list(Transformer(config).state_dict())
    return [stored for name in names for stored in _stored(name, config)]


def _stored(ours: str, config: ModelConfig) -> Iterator[Stored]:
    module, kind = ours.rsplit(".", 1)
    gpt2 = config.family == "gpt2"
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
    if not match:
        if module == "unembed":
            yield Stored("lm_head.weight", ours)
        elif gpt2:
            yield Stored(f"transformer.{_GPT2_TOP[module]}.{kind}", ours)
        else:
            yield Stored(f"model.{_LLAMA_TOP[module]}.{kind}", ours)
        return
    number, inner = match.groups()
    if gpt2:
        name = f"transformer.h.{number}.{_GPT2_BLOCK[inner]}.{kind}"
        yield Stored(name, ours, turned=name.endswith(_TURNED))
    elif inner == "attention.qkv":
        for part, rows in zip(_QKV, qkv_rows(config), strict=True):
            yield Stored(f"model.layers.{number}.{part}.{kind}", ours, rows)
    else:
        yield Stored(f"model.layers.{number}.{_LLAMA_BLOCK[inner]}.{kind}", ours)


def qkv_rows(config: ModelConfig) -> list[tuple[int, int]]:
    """First row and the one after the last of queries, keys and values in our one projection."""
    queries, keys = config.n_heads * config.head_width, config.kv_heads * config.head_width
    return [(0, queries), (queries, queries + keys), (queries + keys, queries + 2 * keys)]


def load_weights(
    folder: Path,
    config: ModelConfig,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Transformer:
    """A model with the weights of a Hugging Face folder.

    Each tensor goes straight to its place, so that two copies of the model never exist.

    Raises:
        FinetuneError: If a file is missing or damaged, or its tensors are not those of such a model.
    """
    return fill(read_tensors(folder), config, str(folder), device=device, dtype=dtype)


def fill(
    tensors: Iterable[tuple[str, Tensor]],
    config: ModelConfig,
    source: str,
    *,
    device: str | torch.device,
    dtype: torch.dtype,
    places: Sequence[Stored] | None = None,
) -> Transformer:
    """A model made of published tensors, taken one by one.

    Args:
        tensors: Names and tensors. Masks and the like are passed over; a tied head may be there too.
        config: The model's shape.
        source: Where they come from, for messages.
        device: Where the model is to be.
        dtype: What its weights are to be kept in.
        places: Which tensor is which of ours; as `stored_tensors` has it when None. Two tensors for one place
            have to be equal.

    Raises:
        FinetuneError: If a tensor is missing, of another shape, or means something that ours does not compute;
            if there is no memory for the model.
    """
    with torch.device("meta"):
        model = Transformer(config)
    with room_for_weights(source):
        state = {name: torch.empty(t.shape, device=device, dtype=dtype) for name, t in model.state_dict().items()}
    places = [*stored_tensors(config), *_tied_head(config)] if places is None else places
    wanted = {_plain(stored.name): stored for stored in places}
    zeros = {_plain(stored.name) for stored in stored_tensors(published(config))} - set(wanted)
    filled: set[tuple[str, tuple[int, int] | None]] = set()
    for name, tensor in tensors:
        stored = wanted.get(_plain(name))
        if stored is not None:
            key = (stored.ours, stored.rows)
            _put(tensor, stored, state, f"{source}: tensor {name}", again=key in filled)
            filled.add(key)
        elif not (_IDLE.fullmatch(name) or (_plain(name) in zeros and not tensor.any())):
            raise FinetuneError(f"{source}: tensor {name} {_why_not(name, config)}; {_ADVICE}")
    missing = [stored for stored in places if (stored.ours, stored.rows) not in filled]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        shape = _shape(_room(state, missing[0]), missing[0])
        raise FinetuneError(f"{source}: tensor {missing[0].name}{more} is missing; wanted shape {shape}, found none")
    model.load_state_dict(state, assign=True)
    return model


def _plain(name: str) -> str:
    """Without the prefix that files of a model without its head lack."""
    return name.removeprefix("transformer.").removeprefix("model.")


def _tied_head(config: ModelConfig) -> list[Stored]:
    """The head of a tied model, which some files hold a second time."""
    return [Stored("lm_head.weight", "tokens.weight")] if config.tied else []


def _put(tensor: Tensor, stored: Stored, state: dict[str, Tensor], what: str, *, again: bool) -> None:
    """Copy a tensor to its place, or compare it with what is there already."""
    room = _room(state, stored)
    if tensor.dtype not in _FLOATS:
        raise FinetuneError(f"{what}: wanted float32, bfloat16 or float16, found {_dtype(tensor)}; {_ADVICE}")
    found = tensor.T if stored.turned else tensor
    if found.shape != room.shape:
        raise FinetuneError(f"{what}: wanted shape {_shape(room, stored)}, found {tuple(tensor.shape)}")
    if again:
        if not torch.equal(room, found.to(room.device, room.dtype)):
            raise FinetuneError(
                f"{what} differs from the embedding or from its other copy; "
                f"a head of its own wants tie_word_embeddings = false in config.json"
            )
        return
    room.copy_(found)
    if room.dtype == torch.float16 and found.dtype != torch.float16 and not room.isfinite().all():
        raise FinetuneError(f"{what} holds numbers too large for float16; take bfloat16 or float32")


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _why_not(name: str, config: ModelConfig) -> str:
    if _QUANTISED.fullmatch(name):
        return "belongs to quantised weights; wanted float32, bfloat16 or float16"
    return f"has no place in a {config.family} language model of the shape that is described"


def _room(state: dict[str, Tensor], stored: Stored) -> Tensor:
    whole = state[stored.ours]
    return whole if stored.rows is None else whole[slice(*stored.rows)]


def _shape(room: Tensor, stored: Stored) -> tuple[int, ...]:
    return tuple(room.T.shape if stored.turned else room.shape)


def save_weights(folder: Path, model: Transformer, *, dtype: torch.dtype = torch.float32) -> None:
    """Write `model.safetensors`, in shards if it is large, under the names by which transformers reads it."""
    write_shards(folder, hf_shapes(model.config), hf_state(model, dtype=dtype), dtype=dtype)


def hf_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Published names and shapes, in the order of `hf_state`."""
    whole = published(config)
    with torch.device("meta"):
        state = Transformer(whole).state_dict()
    return {stored.name: _shape(_room(state, stored), stored) for stored in stored_tensors(whole)}


def hf_state(model: Transformer, *, dtype: torch.dtype = torch.float32) -> Iterator[tuple[str, Tensor]]:
    """Published names and layout, tensor by tensor, on the CPU; zeros for biases that ours lacks."""
    state = model.state_dict()
    shapes = hf_shapes(model.config)
    for stored in stored_tensors(published(model.config)):
        if stored.ours in state:
            plain = _room(state, stored).detach().to(device="cpu", dtype=dtype)
            yield stored.name, (plain.T if stored.turned else plain).contiguous()
        else:
            yield stored.name, torch.zeros(shapes[stored.name], dtype=dtype)
