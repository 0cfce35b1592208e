"""A checkpoint folder: a Hugging Face model folder, and beside it what it was trained on and how.

Because every native checkpoint is also a folder that transformers loads, one reader serves both; what
training adds stands in `training.json`.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from finetune.errors import FinetuneError
from finetune.tokenizer import Tokenizer
from finetune.transformer import Transformer
from finetune.weights import hf_config, load_weights, read_config, save_weights

TRAINING = "training.json"


class Training(BaseModel):
    """How a checkpoint came to be.

    Attributes:
        style: Prompt style it was trained in.
        step: Optimizer steps done.
        epoch: Passes over the training entries done.
        train_loss: Mean loss over the last epoch's trained tokens, in nats a token.
        validation_loss: Mean loss over the validation entries' answers at this step, in nats a token.
        validation_curve: (step, validation loss) from step 0, the base, up to here.
        base: Reference of the model it started from.
        base_fingerprint: That model's fingerprint.
        settings: The training settings.
        trained_on: Item ids of the entries it was trained on.
        trained_prompts: Hashes of their instruction and input, to see the same question under another id.
    """

    model_config = ConfigDict(extra="forbid")

    style: str
    step: int
    epoch: int
    train_loss: float | None = None
    validation_loss: float | None = None
    validation_curve: list[tuple[int, float]] = []
    base: str
    base_fingerprint: str = ""
    settings: dict[str, Any] = {}
    trained_on: list[str] = []
    trained_prompts: list[str] = []


@dataclass
class Checkpoint:
    """A model that can answer, with its tokenizer; `training` is None for a model made elsewhere."""

    model: Transformer
    tokenizer: Tokenizer
    training: Training | None = None

    @property
    def style(self) -> str | None:
        """The prompt style it was trained in, if that is known."""
        return self.training.style if self.training else None


def load_checkpoint(
    folder: str | Path, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Load a native checkpoint or a Hugging Face GPT-2 folder, ready to answer (in eval mode).

    Raises:
        FinetuneError: If the folder is missing, of another architecture, or does not fit together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FinetuneError(f"wanted a checkpoint folder at {folder}, found {'a file' if folder.exists() else 'none'}")
    config = read_config(folder)
    tokenizer = _tokenizer(folder, config.vocab_size)
    if tokenizer.vocab_size > config.vocab_size:
        raise FinetuneError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} ids, the model's vocabulary only {config.vocab_size}"
        )
    model = load_weights(folder, config, device=device, dtype=dtype)
    return Checkpoint(model.eval(), tokenizer, read_training(folder))


def _tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.exists() and vocab_size == 50257:  # GPT-2's own vocabulary, known by name
        return Tokenizer.by_name("gpt2")
    return Tokenizer.from_file(path)


def read_training(folder: Path) -> Training | None:
    """What `training.json` says, or None when the folder has none.

    Raises:
        FinetuneError: If it is there and cannot be read.
    """
    path = folder / TRAINING
    if not path.exists():
        return None
    try:
        return Training.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        field = "".join(f"{part}: " for part in problem["loc"][:1])
        raise FinetuneError(f"{path} is damaged: {field}{problem['msg']}; copy it again, or do without it") from None


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint, *, dtype: torch.dtype = torch.float32) -> None:
    """Write the folder whole or not at all: it appears under its name only when every file is complete."""
    folder = Path(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_weights(partial / "model.safetensors", checkpoint.model, dtype=dtype)
    config = hf_config(checkpoint.model.config, end_of_text=checkpoint.tokenizer.end_of_text)
    (partial / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
    checkpoint.tokenizer.save(partial)
    if checkpoint.training is not None:
        (partial / TRAINING).write_text(checkpoint.training.model_dump_json(indent=1), "utf-8")
    for file in partial.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def fingerprint(folder: str | Path) -> str:
    """Hash of weights, configuration and tokenizer: what decides a checkpoint's answers. 16 hex digits."""
    whole = hashlib.sha256()
    names = ("config.json", "tokenizer.json")
    for file in sorted(p for p in Path(folder).iterdir() if p.name in names or p.suffix == ".safetensors"):
        with file.open("rb") as handle:
            whole.update(file.name.encode() + hashlib.file_digest(handle, "sha256").digest())
    return whole.hexdigest()[:16]
