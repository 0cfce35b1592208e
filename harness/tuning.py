"""The `finetune` stage: from files and flags to a folder of checkpoints, shown as it goes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from finetune.instructions import DataSet, complaints
from finetune.splits import Splits, make_splits
from harness.checkpoints import Target, resolve
from harness.screen import Screen
from harness.stages import one_target

if TYPE_CHECKING:
    from finetune.folder import State
    from finetune.recipes import TrainConfig
    from finetune.train import Event


def tune(
    *,
    base: str,
    data: Path,
    out: Path,
    config: "TrainConfig",
    screen: Screen,
    validation: Path | None = None,
    test: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> "State":
    """Fine-tune `base` on `data` into `out`; nothing is done when the same was done before.

    Raises:
        FinetuneError: If a file, a setting or the base cannot be used, or `out` holds something else.
        HarnessError: If the base cannot be found.
    """
    from finetune.folder import State, already_done, read_state
    from finetune.styles import style_named

    style_named(config.style)
    splits = make_splits(data, validation=validation, test=test, shuffle=config.shuffle, seed=config.seed)
    target = one_target(resolve([base]), "--base")
    state = State(
        settings=config,
        data=_digest(splits),
        base=target.reference.text,
        base_fingerprint=target.record.fingerprint,
    )
    for line in complaints([*splits.train, *splits.test, *splits.validation]):
        screen.say(line)
    _warn_of_overlap(splits, screen)
    if already_done(out, state, overwrite=overwrite):
        screen.say(f"{out}: this fine-tuning is finished; nothing to do")
        return read_state(out) or state
    sizes = f"{len(splits.train)} training, {len(splits.test)} test, {len(splits.validation)} validation entries"
    screen.say(f"{target.record.name}: {sizes}")
    _train(target, splits, state, out, device, screen)
    return state


def _digest(splits: Splits) -> str:
    """Hash of all three splits: the same entries on the same sides."""
    parts = [DataSet(name, tuple(entries)).digest for name, entries in vars(splits).items()]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _warn_of_overlap(splits: Splits, screen: Screen) -> None:
    """The book's split by file order puts repeated questions on both sides; so may a user's own files."""
    trained = {e.prompt_hash for e in splits.train}
    for name, entries in (("test", splits.test), ("validation", splits.validation)):
        if n := sum(e.prompt_hash in trained for e in entries):
            screen.warn(f"{n} of {len(entries)} {name} entries are among the training entries too")


def _train(target: Target, splits: Splits, state: "State", out: Path, device: str, screen: Screen) -> None:
    from finetune.folder import fine_tune

    checkpoint = target.load(device=device, dtype="float32")
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=screen.err, disable=screen.still, transient=True) as bar:
        for line in _follow(fine_tune(checkpoint, splits, state, out), bar, screen):
            screen.say(line)
    screen.say(
        f"{out}: best is {state.best} ({'early stop: ' + state.stopped if state.stopped else 'all epochs done'})"
    )


def _follow(events: "Iterator[Event]", bar: Progress, screen: Screen) -> Iterator[str]:
    """Advance the bar, warn of what did not fit; yield what is worth a line."""
    import time

    from finetune.train import EpochEnded, Evaluated, Started, Stepped

    task = bar.add_task("fine-tuning", total=None, rate="")
    tokens, began = 0, time.monotonic()
    for event in events:
        match event:
            case Started():
                bar.update(task, total=event.steps)
                for note in event.notes:
                    screen.warn(note)
            case Stepped():
                tokens += event.tokens
                rate = f"loss {event.loss:.2f} · {tokens / (time.monotonic() - began):,.0f} tokens/s"
                bar.update(task, completed=event.step, rate=rate)
            case Evaluated():
                trained = "" if event.train_loss is None else f"training loss {event.train_loss:.3f}, "
                losses = f"{trained}validation loss {event.validation_loss:.3f}"
                yield f"step {event.step:>5}  epoch {event.epoch:4.2f}  {losses}"
            case EpochEnded():
                asked, answered = (" ".join(text.split())[:60] for text in (event.question.question, event.answer))
                yield f'epoch {event.epoch} answers "{asked}": "{answered}"'
            case _:
                pass
