"""The history of a training: a JSON line for every step, validation and sample answer, and the plot of its losses."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from finetune.atomic import whole_file
from finetune.errors import FinetuneError


def log(history: Path, line: Mapping[str, Any]) -> None:
    """Add a line.

    Raises:
        FinetuneError: If it cannot be written.
    """
    try:
        with history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise FinetuneError(
            f"{history} could not be written: {error.strerror}; make room, or choose another place"
        ) from None


def cut_history(history: Path, step: int) -> None:
    """Drop what was logged after a step: it happens again. A line torn by the interruption goes too."""
    if not history.exists():
        return
    kept = []
    for line in _lines(history):
        with suppress(ValueError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    with whole_file(history) as partial:
        partial.write_text("".join(kept), "utf-8")


def _lines(history: Path) -> list[str]:
    # Split on "\n" only: answers may hold other characters that splitlines() takes for line ends.
    return [line for line in history.read_text("utf-8", errors="replace").split("\n") if line]


def draw_losses(history: Path, image: Path) -> None:
    """Plot training and validation loss over steps from a loss history, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in _lines(history)]
    points = [line for line in lines if "validation_loss" in line]
    trained = [p for p in points if p["train_loss"] is not None]
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([p["step"] for p in trained], [p["train_loss"] for p in trained], label="training")
    axes.plot([p["step"] for p in points], [p["validation_loss"] for p in points], label="validation")
    lowest = min(points, key=lambda p: p["validation_loss"])
    axes.axvline(lowest["step"], color="grey", linestyle=":", label=f"lowest at step {lowest['step']}")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    axes.legend()
    figure.savefig(image, dpi=120)
