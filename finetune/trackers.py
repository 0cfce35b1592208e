"""Losses for the dashboards people know: TensorBoard and Weights & Biases, each an extra."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from finetune.errors import FinetuneError, unknown_name
from finetune.train import Evaluated, Event, Stepped


class Tracker(Protocol):
    """Something that draws numbers over steps."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step."""

    def close(self) -> None:
        """Write what is left."""


class _TensorBoard:
    def __init__(self, out: Path, settings: Mapping[str, Any]):
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise FinetuneError("--log tensorboard wants its package: pip install 'ift-eval[tensorboard]'") from None
        self.writer = SummaryWriter(str(out / "tensorboard"))
        text = "\n".join(f"    {name}: {value}" for name, value in settings.items())
        self.writer.add_text("settings", text)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _WandB:
    def __init__(self, out: Path, settings: Mapping[str, Any]):
        try:
            import wandb
        except ImportError:
            raise FinetuneError("--log wandb wants its package: pip install 'ift-eval[wandb]'") from None
        out.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(dir=str(out), name=out.name, config=dict(settings), resume="allow")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]] = {"tensorboard": _TensorBoard, "wandb": _WandB}


def open_trackers(names: Sequence[str], out: Path, settings: Mapping[str, Any]) -> list[Tracker]:
    """The trackers of these names, which write into the training's folder.

    Raises:
        FinetuneError: If one is unknown, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("--log", name, TRACKERS)
    return [TRACKERS[name](out, settings) for name in names]


def values_of(event: Event) -> tuple[int, dict[str, float]] | None:
    """Step and numbers of an event that has any, under the names trainers use."""
    match event:
        case Stepped():
            numbers = {"train/loss": event.loss, "train/learning_rate": event.rate, "train/grad_norm": event.norm}
            return event.step, numbers | {"train/tokens_per_second": event.tokens / event.seconds}
        case Evaluated():
            return event.step, {"eval/loss": event.validation_loss, "epoch": event.epoch}
        case _:
            return None
