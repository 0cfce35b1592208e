"""Folders as trainers leave them, made by hand around tiny checkpoints."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.checkpoint import Training, load_checkpoint, save_adapter
from finetune.lora import LoraConfig, attach

Point = Mapping[str, Any]


def trainer_state(folder: Path, step: int, history: Sequence[Point], **more: Any) -> None:
    """As transformers' Trainer writes it; NaN and infinity stand there as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"global_step": step, "max_steps": step, "log_history": list(history), **more}
    (folder / "trainer_state.json").write_text(json.dumps(state), "utf-8")


def losses(*steps: int, of: float = 4.0) -> list[Point]:
    """A history with both losses at each step, falling."""
    points: list[Point] = []
    for n, step in enumerate(steps):
        points.append({"loss": of - n, "step": step, "learning_rate": 1e-4, "epoch": n / 2})
        points.append({"eval_loss": of - n + 0.5, "step": step, "eval_runtime": 0.1})
    return points


def adapter(base: Path, folder: Path, seed: int, training: Training | None = None) -> None:
    """A random adapter of a base, as peft writes it."""
    checkpoint = load_checkpoint(base)
    attach(checkpoint.model, LoraConfig(rank=2), seed=seed)
    save_adapter(folder, checkpoint.model, checkpoint.tokenizer, training, base=str(base))


def copied(source: Path, target: Path) -> Path:
    """A final model: the files of a checkpoint once more, beside the checkpoints."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target


def cut(path: Path, keep: int) -> None:
    """Leave only the first bytes of a file, as a full disk or a kill does."""
    with path.open("r+b") as file:
        file.truncate(keep if keep >= 0 else path.stat().st_size + keep)
