"""A checkpoint as a GGUF file, which llama.cpp and so Ollama runs."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from finetune.atomic import whole_file
from finetune.checkpoint import Checkpoint
from finetune.errors import FinetuneError, unknown_name
from finetune.export import SHORT_DTYPES, ends, too_large
from finetune.gguf.tensors import GgufTensor, gguf_tensors
from finetune.gguf.tokenizer import add_tokenizer
from finetune.lora import merged
from finetune.presets import ModelConfig
from finetune.segments import Style
from finetune.styles import template_for_others

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

GGUF_DTYPES = ("float32", "bfloat16", "float16", "q8_0")

_TYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16", "q8_0": "Q8_0"}
_FILE_TYPES = {"float32": "ALL_F32", "bfloat16": "MOSTLY_BF16", "float16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}


def export_gguf(
    checkpoint: Checkpoint,
    file: Path,
    *,
    style: Style | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> list[str]:
    """Write a GGUF file that llama.cpp, and so Ollama, runs.

    Args:
        checkpoint: What to write; with adapters attached, it is their sum with the base that is written.
        file: Where to. It appears whole or not at all.
        style: How the model is asked; the template that came with the tokenizer when None.
        dtype: Of the matrices: float32, bfloat16, float16 (or f32, bf16, f16), or q8_0, eight bits a weight with
            a scale for every 32. Vectors and learnt positions stay float32, as llama.cpp has it.
        overwrite: Replace a file that is there.

    Returns:
        What a user should know of the file, a sentence each: where llama.cpp will not do quite the same.

    Raises:
        FinetuneError: If the file is there already and `overwrite` is not given, or cannot be written; if there is
            no such dtype; if llama.cpp knows no way to do what this model or its tokenizer does.
    """
    dtype = check_gguf(file, dtype, overwrite=overwrite)
    with whole_file(file) as partial:
        return _write(checkpoint, partial, style, dtype, name=file.stem)


def check_gguf(file: Path, dtype: str, *, overwrite: bool = False) -> str:
    """What can be said before a model is loaded; raises as `export_gguf`. The dtype's full name."""
    dtype = SHORT_DTYPES.get(dtype, dtype)
    if dtype not in GGUF_DTYPES:
        raise unknown_name("dtype", dtype, GGUF_DTYPES)
    if file.is_dir():
        raise FinetuneError(f"wanted a file to write, {file} is a folder; name a file, as {file / 'model.gguf'}")
    if file.exists() and not overwrite:
        raise FinetuneError(f"{file} is there already; choose another file, or --overwrite it")
    if file.exists() and file.suffix in (".safetensors", ".pth", ".pt", ".bin", ".json"):
        raise FinetuneError(f"--overwrite replaces a GGUF file, and {file.name} is part of a model of another form")
    return dtype


def _write(checkpoint: Checkpoint, path: Path, style: Style | None, dtype: str, *, name: str) -> list[str]:
    from gguf import GGUFWriter, LlamaFileType

    config, tokenizer = checkpoint.model.config, checkpoint.tokenizer
    tensors = gguf_tensors(merged(checkpoint.model))
    writer = GGUFWriter(path, config.family)
    try:
        writer.add_name(_harmless(name))
        writer.add_file_type(LlamaFileType[_FILE_TYPES[dtype]])
        _add_shape(writer, config)
        notes = add_tokenizer(writer, tokenizer, config.vocab_size, ends(style, tokenizer))
        if template := template_for_others(style, tokenizer):
            writer.add_chat_template(template)
        _write_tensors(writer, tensors, dtype)
    finally:
        writer.close()
    left = [tensor for tensor in tensors if dtype == "q8_0" and _kind(tensor, dtype).name == "F16"]
    if left:
        notes.append(
            f"{len(left)} of {len(tensors)} tensors are float16, not q8_0, since their rows ({left[0].shape[-1]} "
            f"weights in {left[0].name}) are no multiple of 32"
        )
    return notes


def _harmless(name: str) -> str:
    """A name by which llama.cpp does not take the model for Phi-3 itself, whose tokens it would look for in vain."""
    return re.sub(r"(?i)phi(?=-?3)", "phi ", name)


def _add_shape(writer: "GGUFWriter", config: ModelConfig) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.inner_width)
    writer.add_block_count(config.n_layers)
    writer.add_head_count(config.n_heads)
    if not config.rotary:
        writer.add_layer_norm_eps(config.norm_eps)
        return
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_theta)


def _write_tensors(writer: "GGUFWriter", tensors: list[GgufTensor], dtype: str) -> None:
    """The table of all tensors first, then one after the other: no second copy of the model comes to be."""
    from gguf import GGML_QUANT_SIZES

    for tensor in tensors:
        kind = _kind(tensor, dtype)
        block, size = GGML_QUANT_SIZES[kind]  # weights, bytes
        nbytes = tensor.source.numel() // block * size
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), nbytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors:
        writer.write_tensor_data(_data(tensor, _kind(tensor, dtype)))


def _kind(tensor: GgufTensor, dtype: str) -> "GGMLQuantizationType":
    from gguf import GGMLQuantizationType

    if len(tensor.shape) == 1 or tensor.name == "position_embd.weight":
        return GGMLQuantizationType.F32
    if dtype == "q8_0" and tensor.shape[-1] % 32:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[_TYPES[dtype]]


def _data(tensor: GgufTensor, kind: "GGMLQuantizationType") -> np.ndarray:
    from gguf import quants

    plain = tensor.make()
    if kind.name == "F16" and not plain.abs().max() <= 65504:  # not a number is not either
        raise too_large(tensor.name)
    data: np.ndarray = quants.quantize(plain.numpy(), kind)
    return data
