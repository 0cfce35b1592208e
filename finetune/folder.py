"""The folder a fine-tuning leaves: settings, splits, loss history and plot, a checkpoint an epoch, the best.

OUT/finetune.json     settings, data, base; whether it is finished; which epoch is best
OUT/splits/           train.json, test.json, validation.json
OUT/history.jsonl     losses and sample answers, as they came
OUT/loss.png
OUT/epoch-1/ ...      checkpoints;  OUT/best -> the epoch with the lowest validation loss
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from finetune.checkpoint import Checkpoint, Training, save_checkpoint
from finetune.errors import FinetuneError
from finetune.recipes import TrainConfig
from finetune.splits import Splits
from finetune.train import EpochEnded, Evaluated, Event, Stopped, train

STATE, HISTORY, PLOT, SPLITS, BEST = "finetune.json", "history.jsonl", "loss.png", "splits", "best"
LOCK = ".finetune.lock"


class State(BaseModel):
    """What `finetune.json` holds.

    Attributes:
        settings: The training settings.
        data: Hash of the entries of the three splits.
        base: Reference of the model it started from.
        base_fingerprint: That model's fingerprint.
        finished: Whether training came to its end.
        best: Name of the epoch folder with the lowest validation loss.
        stopped: Why training stopped before its last epoch, if it did.
    """

    model_config = ConfigDict(extra="forbid")

    settings: TrainConfig
    data: str
    base: str
    base_fingerprint: str
    finished: bool = False
    best: str | None = None
    stopped: str | None = None


def read_state(out: Path) -> State | None:
    """The state of an earlier fine-tuning into this folder, or None.

    Raises:
        FinetuneError: If its `finetune.json` cannot be read.
    """
    path = out / STATE
    if not path.exists():
        return None
    try:
        return State.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise FinetuneError(f"{path} is damaged ({error.errors()[0]['msg']}); --overwrite starts anew") from None


def already_done(out: Path, wanted: State, *, overwrite: bool) -> bool:
    """Whether the same fine-tuning has been finished in this folder, so that nothing is left to do.

    Raises:
        FinetuneError: If the folder holds another fine-tuning, or other things, and `overwrite` is not given.
    """
    if out.exists() and not out.is_dir():
        raise FinetuneError(f"wanted a folder for the checkpoints, {out} is a file; choose another --out")
    if overwrite or not out.exists() or not {p.name for p in out.iterdir()} - {LOCK}:
        return False
    found = read_state(out)
    if found is None:
        raise FinetuneError(f"{out} is not empty and holds no fine-tuning; choose another --out, or --overwrite it")
    differing = [*_differences(found, wanted)]
    if differing:
        raise FinetuneError(
            f"{out} holds a fine-tuning with another {'; another '.join(differing)}; "
            f"choose another --out, or --overwrite it"
        )
    return found.finished


def _differences(found: State, wanted: State) -> Iterator[str]:
    """What differs, as "batch_size (8 there, 4 now)"."""
    then, now = found.settings.model_dump(), wanted.settings.model_dump()
    for name, value in now.items():
        if then[name] != value:
            yield f"{name} ({then[name]} there, {value} now)"
    if found.data != wanted.data:
        yield "data set"
    if found.base_fingerprint != wanted.base_fingerprint:
        yield f"base ({found.base} there, {wanted.base} now)"


def fine_tune(checkpoint: Checkpoint, splits: Splits, state: State, out: Path) -> Iterator[Event]:
    """Train as `state.settings` says and keep all that comes of it in `out`; yields `train`'s events.

    What an interrupted fine-tuning left there is replaced.

    Raises:
        FinetuneError: If another fine-tuning is writing there; and as `train` does.
    """
    with _only_writer(out):
        yield from _fine_tune(checkpoint, splits, state, out)


@contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FinetuneError(f"{out} is being written by another fine-tuning; wait, or choose another --out") from None
    try:
        yield
    finally:
        lock.release()


def _fine_tune(checkpoint: Checkpoint, splits: Splits, state: State, out: Path) -> Iterator[Event]:
    _clear(out)
    _write_state(out, state)
    splits.save(out / SPLITS)
    curve: list[tuple[int, float]] = []
    with (out / HISTORY).open("w", encoding="utf-8") as history:
        for event in train(checkpoint, splits, state.settings):
            match event:
                case Evaluated():
                    curve.append((event.step, event.validation_loss))
                    _log(history, asdict(event))
                case EpochEnded():
                    name = f"epoch-{event.epoch}"
                    checkpoint.training = _training(event, splits, state, curve)
                    save_checkpoint(out / name, checkpoint)
                    _log(history, {"epoch": event.epoch, "sample": event.question.item_id, "answer": event.answer})
                    if event.best:
                        state.best = name
                        _mark_best(out, name)
                    _write_state(out, state)
                case Stopped():
                    state.finished, state.stopped = True, event.early
                case _:
                    pass
            yield event
    draw_losses(out / HISTORY, out / PLOT)
    _write_state(out, state)


def _training(event: EpochEnded, splits: Splits, state: State, curve: list[tuple[int, float]]) -> Training:
    return Training(
        style=state.settings.style,
        step=event.step,
        epoch=event.epoch,
        train_loss=event.train_loss,
        validation_loss=event.validation_loss,
        validation_curve=list(curve),
        base=state.base,
        base_fingerprint=state.base_fingerprint,
        settings=state.settings.model_dump(),
        trained_on=[entry.item_id for entry in splits.train],
        trained_prompts=[entry.prompt_hash for entry in splits.train],
    )


def _clear(out: Path) -> None:
    """Remove what a fine-tuning leaves, and nothing else: the user may keep other things here."""
    (out / BEST).unlink(missing_ok=True)
    for name in (STATE, HISTORY, PLOT):
        (out / name).unlink(missing_ok=True)
    for folder in (out / SPLITS, *out.glob("epoch-*"), *out.glob(".epoch-*.partial")):
        shutil.rmtree(folder, ignore_errors=True)


def _write_state(out: Path, state: State) -> None:
    partial = out / f".{STATE}.partial"
    partial.write_text(state.model_dump_json(indent=1), "utf-8")
    partial.replace(out / STATE)


def _log(history: Any, line: dict[str, Any]) -> None:
    history.write(json.dumps(line, ensure_ascii=False) + "\n")
    history.flush()


def _mark_best(out: Path, name: str) -> None:
    (out / BEST).unlink(missing_ok=True)
    with suppress(OSError):  # some file systems have no links; finetune.json says it too
        (out / BEST).symlink_to(name, target_is_directory=True)


def draw_losses(history: Path, image: Path) -> None:
    """Plot training and validation loss over steps from a loss history, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in history.read_text("utf-8").splitlines()]
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
