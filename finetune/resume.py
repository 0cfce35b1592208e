"""What an interrupted training needs to go on: trained weights, moments, and how far it was."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from finetune.atomic import whole_file
from finetune.errors import FinetuneError
from finetune.train import Progress, Trainer

RESUME = "resume.safetensors"


def save_progress(path: Path, trainer: Trainer) -> None:
    """Write the file whole or not at all, on disk before it counts.

    Raises:
        FinetuneError: If the disk is full, or the place cannot be written to.
    """
    progress = json.dumps(asdict(trainer.progress))
    with whole_file(path) as partial:
        save_file(_tensors(trainer), partial, metadata={"progress": progress})


@torch.no_grad()
def load_progress(path: Path, trainer: Trainer) -> None:
    """Put a trainer where the one was that wrote the file.

    Raises:
        FinetuneError: If the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = _progress(json.loads(file.metadata()["progress"]))
            for name, tensor in _tensors(trainer).items():
                stored = file.get_tensor(name)
                if stored.shape != tensor.shape:
                    raise ValueError(f"{name}: wanted {tuple(tensor.shape)}, found {tuple(stored.shape)}")
                tensor.copy_(stored)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FinetuneError(f"{path} is damaged ({error}); --overwrite starts the training anew") from None
    trainer.progress = progress
    for state in trainer.optimizer.state.values():
        state["step"].fill_(progress.step)


def _progress(raw: dict[str, Any]) -> Progress:
    """What JSON made of the tuples, turned back."""
    for name in ("since_validation", "since_milestone"):
        raw[name] = tuple(raw[name])
    raw["validations"] = [tuple(item) for item in raw["validations"]]
    return Progress(**raw)


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every trained weight and its two moments, by the weight's number."""
    tensors = {}
    for number, weight in enumerate(trainer.weights):
        state = trainer.optimizer.state[weight]
        tensors[f"{number}.weight"] = weight.detach()
        tensors[f"{number}.exp_avg"] = state["exp_avg"]
        tensors[f"{number}.exp_avg_sq"] = state["exp_avg_sq"]
    return tensors
