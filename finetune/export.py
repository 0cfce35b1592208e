"""A checkpoint for other programs: a Hugging Face folder for transformers, a GGUF file for llama.cpp."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from finetune.checkpoint import TRAINING, Checkpoint, save_checkpoint
from finetune.errors import FinetuneError
from finetune.presets import ModelConfig
from finetune.tokenizer import GPT2_PATTERN, Tokenizer
from finetune.transformer import Transformer

if TYPE_CHECKING:
    from gguf import GGUFWriter

# Ours to llama.cpp's. Both keep linear weights as (out, in).
_GGUF_TOP = {"tokens": "token_embd", "positions": "position_embd", "norm": "output_norm"}
_GGUF_BLOCK = {
    "norm1": "attn_norm",
    "attention.qkv": "attn_qkv",
    "attention.out": "attn_output",
    "norm2": "ffn_norm",
    "up": "ffn_up",
    "down": "ffn_down",
}


def export_hf(
    checkpoint: Checkpoint, folder: Path, *, chat_template: str | None = None, overwrite: bool = False
) -> None:
    """Write a folder that `transformers` loads: same logits, same tokenizer, and a chat template in Jinja.

    Raises:
        FinetuneError: If the folder is there already and `overwrite` is not given, or is no exported model.
    """
    if folder.exists() and not overwrite:
        raise FinetuneError(f"{folder} is there already; choose another folder, or --overwrite it")
    if folder.exists() and not _may_go(folder):
        raise FinetuneError(
            f"--overwrite replaces a whole folder, and {folder} holds other things than an exported model; "
            f"choose another folder"
        )
    save_checkpoint(folder, Checkpoint(checkpoint.model, checkpoint.tokenizer))
    checkpoint.tokenizer.save(folder, chat_template=chat_template)


def _may_go(folder: Path) -> bool:
    """Whether it is a folder with a model and no more, or with nothing: not somebody's home, not a training's epoch."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or ("config.json" in names and TRAINING not in names)


def export_gguf(
    checkpoint: Checkpoint, file: Path, *, chat_template: str | None = None, overwrite: bool = False
) -> None:
    """Write a GGUF file in float32 that llama.cpp, and so Ollama, runs.

    Raises:
        FinetuneError: If the file is there already and `overwrite` is not given, or llama.cpp knows no
            way to cut words as this tokenizer does.
    """
    if file.exists() and not overwrite:
        raise FinetuneError(f"{file} is there already; choose another file, or --overwrite it")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    _write_gguf(checkpoint, partial, chat_template, name=file.stem)
    partial.replace(file)


def _write_gguf(checkpoint: Checkpoint, path: Path, chat_template: str | None, *, name: str) -> None:
    from gguf import GGUFWriter, LlamaFileType

    writer = GGUFWriter(path, "gpt2")
    writer.add_name(name)
    writer.add_file_type(LlamaFileType.ALL_F32)
    _add_shape(writer, checkpoint.model.config)
    _add_tokenizer(writer, checkpoint.tokenizer, checkpoint.model.config.vocab_size)
    if chat_template:
        writer.add_chat_template(chat_template)
    for ours, theirs in _gguf_names(checkpoint.model).items():
        tensor = checkpoint.model.state_dict()[ours]
        writer.add_tensor(theirs, tensor.detach().to("cpu", torch.float32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_names(model: Transformer) -> dict[str, str]:
    names = {}
    for ours in model.state_dict():
        module, kind = ours.rsplit(".", 1)
        if module.startswith("blocks."):
            _, number, inner = module.split(".", 2)
            names[ours] = f"blk.{number}.{_GGUF_BLOCK[inner]}.{kind}"
        else:
            names[ours] = f"{_GGUF_TOP[module]}.{kind}"
    return names


def _add_shape(writer: "GGUFWriter", config: ModelConfig) -> None:
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(4 * config.width)
    writer.add_block_count(config.n_layers)
    writer.add_head_count(config.n_heads)
    writer.add_layer_norm_eps(config.norm_eps)


def _add_tokenizer(writer: "GGUFWriter", tokenizer: Tokenizer, vocab_size: int) -> None:
    from gguf import TokenType

    spec = tokenizer.spec()
    if tokenizer.pattern != GPT2_PATTERN:
        raise FinetuneError(f"tokenizer {tokenizer.name}: GGUF export wants GPT-2's split pattern, found another")
    tokens = {i: text for text, i in spec["model"]["vocab"].items()}
    special = {i: text for text, i in tokenizer.special_tokens.items()}
    kinds = {**dict.fromkeys(tokens, TokenType.NORMAL), **dict.fromkeys(special, TokenType.CONTROL)}
    everything = {**tokens, **special}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    # An embedding may have more rows than the vocabulary has tokens.
    writer.add_token_list([everything.get(i, f"[unused {i}]") for i in range(vocab_size)])
    writer.add_token_types([kinds.get(i, TokenType.UNUSED) for i in range(vocab_size)])
    merges = spec["model"]["merges"]
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.end_of_text)
    writer.add_eos_token_id(tokenizer.end_of_text)
    writer.add_add_bos_token(False)
