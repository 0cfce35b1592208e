"""What an interrupted training needs to go on: trained weights, moments, and how far it was."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from finetune.errors import FinetuneError
from finetune.train import Progress, Trainer

RESUME = "resume.safetensors"


def save_progress(path: Path, trainer: Trainer) -> None:
    """Write the file whole or not at all, on disk before it counts."""
    partial = path.with_name(f".{path.name}.partial")
    progress = json.dumps(asdict(trainer.progress))
    save_file(_tensors(trainer), partial, metadata={"progress": progress})
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(path)


@torch.no_grad()
def load_progress(path: Path, trainer: Trainer) -> None:
    """Put a trainer where the one was that wrote the file.

    Raises:
        FinetuneError: If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            for name, tensor in _tensors(trainer).items():
                tensor.copy_(file.get_tensor(name))
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FinetuneError(f"{path} is damaged ({error}); --overwrite starts the training anew") from None
    for name in ("since_validation", "since_milestone", "validations"):
        value = progress[name]
        progress[name] = [tuple(item) for item in value] if name == "validations" else tuple(value)
    trainer.progress = Progress(**progress)
    for state in trainer.optimizer.state.values():
        state["step"].fill_(trainer.progress.step)


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every trained weight and its two moments, by the weight's number."""
    tensors = {}
    for number, weight in enumerate(trainer.weights):
        state = trainer.optimizer.state[weight]
        tensors[f"{number}.weight"] = weight.detach()
        tensors[f"{number}.exp_avg"] = state["exp_avg"]
        tensors[f"{number}.exp_avg_sq"] = state["exp_avg_sq"]
    return tensors
