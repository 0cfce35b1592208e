"""The folder a fine-tuning leaves: settings, splits, loss history and plot, a checkpoint an epoch, the best.

OUT/finetune.json     settings, data, base; whether it is finished; which checkpoint is best
OUT/splits/           train.json, test.json, validation.json
OUT/history.jsonl     losses and sample answers, as they came
OUT/loss.png
OUT/epoch-1/ ...      checkpoints (step-100/ ... with --save-every);  OUT/best -> the one of lowest validation loss
OUT/resume.safetensors  moments, while it is not finished
"""

import math
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from finetune.checkpoint import Checkpoint, Training, read_training, save_adapter, save_checkpoint
from finetune.errors import FinetuneError
from finetune.history import cut_history, draw_losses, log
from finetune.instructions import Entry
from finetune.lora import LoraConfig, attach
from finetune.lora_targets import ALL, parse_targets
from finetune.parallel import Team
from finetune.recipes import TrainConfig
from finetune.resume import RESUME, load_progress, save_progress
from finetune.splits import Splits
from finetune.state import LOCK, UNFINISHED, State, read_state, write_state
from finetune.train import Evaluated, Event, Milestone, Progress, Started, Stepped, Stopped, Trainer, Turned

HISTORY, PLOT, SPLITS, BEST = "history.jsonl", "loss.png", "splits", "best"
MERGED = "merged"  # the best adapter folded into its base, when asked for
TRACKED = ("tensorboard", "wandb")
_CHECKPOINT = re.compile(r"(?:epoch|step)-\d+")


def fine_tune(
    checkpoint: Checkpoint,
    splits: Splits,
    state: State,
    out: Path,
    *,
    team: Team | None = None,
    overwrite: bool = False,
) -> Iterator[Event]:
    """Train as `state.settings` says and keep all that comes of it in `out`; yields `Trainer`'s events.

    An interrupted fine-tuning of the same settings goes on from its last checkpoint. Of several processes
    only the leading one writes.

    Raises:
        FinetuneError: If another fine-tuning is writing there; and as `Trainer` does.
    """
    team = team or Team()
    settings = state.settings
    if settings.lora_rank is not None:
        attach(checkpoint.model, lora_config(settings), seed=settings.seed)
    with _only_writer(out) if team.leads else nullcontext():
        trainer = Trainer(checkpoint, splits, settings, team)
        if team.agree(team.leads and not overwrite and _may_go_on(out)):
            load_progress(out / RESUME, trainer)
        keeper = _Keeper(out, state, trainer) if team.leads else None
        if keeper:
            keeper.open(splits)
        for event in trainer.run():
            if keeper:
                keeper.keep(event)
            yield event


def lora_config(settings: TrainConfig) -> LoraConfig:
    """The adapters that the settings ask for."""
    assert settings.lora_rank is not None
    return LoraConfig(
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        targets=parse_targets(settings.lora_targets or ALL),
    )


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


def _may_go_on(out: Path) -> bool:
    """Whether an interrupted training lies there; that it is the same one has been seen to before."""
    found = read_state(out)
    return found is not None and not found.finished and (out / RESUME).exists()


class _Keeper:
    """Writes what happens in a training into its folder."""

    def __init__(self, out: Path, state: State, trainer: Trainer):
        self.out, self.state, self.trainer = out, state, trainer

    def open(self, splits: Splits) -> None:
        """Make the folder ready: empty, or as it was after the step from which training goes on."""
        self.trained = splits.train
        if done := self.trainer.progress.step:
            self._go_back_to(done)
        else:
            # Killed anywhere in here, the same command finds its own state and nothing of an older training to go on.
            (self.out / RESUME).unlink(missing_ok=True)
            write_state(self.out, self.state)
            _clear(self.out)
            splits.save(self.out / SPLITS)

    def _go_back_to(self, step: int) -> None:
        """Undo what was written after a step: it happens again."""
        cut_history(self.out / HISTORY, step)
        for folder in _checkpoints(self.out):
            if _step_of(folder) > step:
                _remove(folder)
        _remove_partial(self.out)
        self.state.best = _best_of(_checkpoints(self.out))
        _mark_best(self.out, self.state.best)
        write_state(self.out, self.state)
        self._drop_old(self.state.settings.keep)

    def keep(self, event: Event) -> None:
        """Write what is to be kept of an event."""
        match event:
            case Stepped() | Evaluated():
                log(self.out / HISTORY, asdict(event))
            case Turned():
                log(self.out / HISTORY, {"step": self.trainer.progress.step, "turned": event.step})
            case Milestone():
                self._save(event)
            case Stopped():
                self.state.finished, self.state.stopped = True, event.early
                draw_losses(self.out / HISTORY, self.out / PLOT)
                write_state(self.out, self.state)
                (self.out / RESUME).unlink(missing_ok=True)
            case Started():
                pass

    def _save(self, event: Milestone) -> None:
        """The checkpoint first, then what points to it: killed between them, the older one is gone on from."""
        checkpoint, settings = self.trainer.checkpoint, self.state.settings
        training = _training(event, self.trained, self.state, self.trainer.progress)
        folder = self.out / event.name
        if settings.lora_rank is None:
            save_checkpoint(folder, Checkpoint(checkpoint.model, checkpoint.tokenizer, training))
        else:
            save_adapter(folder, checkpoint.model, checkpoint.tokenizer, training, base=self.state.base)
        line = {"step": event.step, "epoch": event.epoch, "sample": event.question.item_id, "answer": event.answer}
        log(self.out / HISTORY, line)
        if event.best:
            self.state.best = event.name
            _mark_best(self.out, event.name)
        write_state(self.out, self.state)
        if event.step < self.trainer.steps:
            save_progress(self.out / RESUME, self.trainer)
        self._drop_old(settings.keep)

    def _drop_old(self, keep: int | None) -> None:
        """Remove all checkpoints but the last `keep` and the best."""
        if keep is None:
            return
        for folder in _checkpoints(self.out)[:-keep]:
            if folder.name != self.state.best:
                _remove(folder)


def _training(event: Milestone, trained: list[Entry], state: State, progress: Progress) -> Training:
    return Training(
        style=state.settings.style,
        step=event.step,
        epoch=event.epoch,
        train_loss=event.train_loss,
        validation_loss=event.validation_loss,
        validation_curve=[(step, loss) for step, _, loss in progress.validations],
        base=state.base,
        base_fingerprint=state.base_fingerprint,
        settings=state.settings.model_dump(),
        trained_on=[entry.item_id for entry in trained],
        trained_prompts=[entry.prompt_hash for entry in trained],
    )


def _checkpoints(out: Path) -> list[Path]:
    """The checkpoints there, in step order."""
    return sorted(_named_as_checkpoints(out), key=_step_of)


def _named_as_checkpoints(out: Path) -> list[Path]:
    return [path for path in out.iterdir() if _CHECKPOINT.fullmatch(path.name) and path.is_dir()]


def _step_of(folder: Path) -> int:
    training = read_training(folder)
    return training.step if training else 0


def _best_of(folders: Iterable[Path]) -> str | None:
    """The checkpoint of lowest validation loss, of equals the last; the best is never dropped, so it is there."""
    best, lowest = None, math.inf
    for folder in folders:
        training = read_training(folder)
        if training and training.validation_loss is not None and training.validation_loss <= lowest:
            best, lowest = folder.name, training.validation_loss
    return best


def _clear(out: Path) -> None:
    """Remove what a fine-tuning leaves, and nothing else: the user may keep other things here."""
    for name in (BEST, HISTORY, PLOT):
        (out / name).unlink(missing_ok=True)
    for folder in _named_as_checkpoints(out):
        _remove(folder)
    for name in (SPLITS, MERGED, *TRACKED):
        shutil.rmtree(out / name, ignore_errors=True)
    _remove_partial(out)


def goes_when_cleared(out: Path, path: Path) -> bool:
    """Whether starting anew in `out` would remove this file or folder."""
    out, path = out.resolve(), path.resolve()
    if out not in path.parents:
        return False
    name = path.relative_to(out).parts[0]
    return name in (HISTORY, PLOT, SPLITS, MERGED, *TRACKED) or _CHECKPOINT.fullmatch(name) is not None


def _remove(folder: Path) -> None:
    """Whole or not at all, as it was written: what is left after a `kill -9` has no checkpoint's name."""
    hidden = folder.with_name(f".{folder.name}.before")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _remove_partial(out: Path) -> None:
    """What was being written or removed when an earlier process was killed."""
    for path in out.iterdir():
        if UNFINISHED.fullmatch(path.name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _mark_best(out: Path, name: str | None) -> None:
    partial = out / f".{BEST}.partial"
    partial.unlink(missing_ok=True)
    if name is None:
        (out / BEST).unlink(missing_ok=True)
        return
    with suppress(OSError):  # some file systems have no links; finetune.json says it too
        partial.symlink_to(name, target_is_directory=True)
        partial.replace(out / BEST)
