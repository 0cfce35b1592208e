"""The `finetune` stage: from files and flags to a folder of checkpoints, shown as it goes."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from finetune.instructions import DataSet, complaints
from finetune.splits import Splits, make_splits
from harness.checkpoints import pick_device, resolve
from harness.errors import HarnessError
from harness.screen import Screen
from harness.stages import one_target

if TYPE_CHECKING:
    from finetune.recipes import TrainConfig
    from finetune.state import State
    from finetune.trackers import Trackers
    from finetune.train import Event


def tune(
    *,
    base: str,
    data: str | Path,
    out: Path,
    config: "TrainConfig",
    screen: Screen,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    merge: bool = False,
    log: Sequence[str] = (),
    device: str = "auto",
    overwrite: bool = False,
) -> "State":
    """Fine-tune `base` on `data` into `out`; nothing is done when the same was done before.

    Under `torchrun` every process calls this; the leading one talks and writes.

    Raises:
        FinetuneError: If a file, a setting or the base cannot be used, or `out` holds something else.
        HarnessError: If the base cannot be found.
    """
    from finetune.folder import fine_tune
    from finetune.parallel import local_device, working_together
    from finetune.state import State, already_done, read_state
    from finetune.styles import check_style
    from finetune.trackers import Trackers, check_trackers

    check_style(config.style)
    check_trackers(log)
    if merge and config.lora_rank is None:
        raise HarnessError("--merge folds adapters into their base; give --lora-rank too, or leave it out")
    splits = make_splits(data, validation=validation, test=test, shuffle=config.shuffle, seed=config.seed)
    target = one_target(resolve([base]), "--base")
    if config.lora_rank is not None and target.is_adapter:
        raise HarnessError(
            f"--lora-rank wants a whole model as --base, {base} is an adapter; "
            f"`ift-eval export {base} FOLDER --to hf` merges it into its base, then give that folder"
        )
    if overwrite:
        _spare(out, base=target.folder, data=data, val=validation, test=test)
    where = local_device(pick_device(device))
    with working_together(where) as team:
        screen = screen if team.leads else Screen(quiet=True)
        state = State(
            settings=config,
            data=_digest(splits),
            base=target.reference.text,
            base_fingerprint=target.record.fingerprint,
            processes=team.size,
        )
        _tell_of_data(splits, screen)
        if team.agree(team.leads and already_done(out, state, overwrite=overwrite)):
            screen.say(f"{out}: this fine-tuning is finished; nothing to do")
            state = read_state(out) or state
        else:
            sizes = f"{len(splits.train)} training, {len(splits.test)} test, {len(splits.validation)} validation"
            screen.say(f"{target.record.name}: {sizes} entries")
            checkpoint = target.load(device=str(where), dtype="float32", fold=True)
            events = fine_tune(checkpoint, splits, state, out, team=team, overwrite=overwrite)
            _show(events, Trackers(log if team.leads else (), out, config.model_dump()), screen)
            early = f"early stop: {state.stopped}" if state.stopped else "all epochs done"
            screen.say(f"{out}: best is {state.best} ({early})")
        if merge and team.leads:
            _merge_best(out, state, screen)
    return state


def _spare(out: Path, **sources: str | Path | None) -> None:
    """Refuse to begin anew in a folder by removing what is to be begun with."""
    from finetune.folder import goes_when_cleared

    for name, source in sources.items():
        if source is not None and goes_when_cleared(out, Path(source)):
            raise HarnessError(f"--overwrite would remove {source}, which is --{name}; choose another --out")


def _merge_best(out: Path, state: "State", screen: Screen) -> None:
    """Write the best adapter and its base as one model, if that has not been done."""
    from finetune.checkpoint import save_checkpoint
    from finetune.folder import MERGED

    folder = out / MERGED
    if not folder.exists():
        best = one_target(resolve([str(out / str(state.best))]), "--merge")
        save_checkpoint(folder, best.load(device="cpu", dtype="float32", fold=True))
        screen.say(f"{folder}: {state.best} and its base as one model")


def _digest(splits: Splits) -> str:
    """Hash of all three splits: the same entries on the same sides."""
    parts = [DataSet(name, tuple(entries)).digest for name, entries in vars(splits).items()]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _tell_of_data(splits: Splits, screen: Screen) -> None:
    """What a careful reader would notice.

    The book's split by file order puts repeated questions on both sides; so may a user's own files.
    """
    for line in complaints([*splits.train, *splits.test, *splits.validation]):
        screen.say(line)
    trained = {e.prompt_hash for e in splits.train}
    for name, entries in (("test", splits.test), ("validation", splits.validation)):
        if n := sum(e.prompt_hash in trained for e in entries):
            screen.warn(f"{n} of {len(entries)} {name} entries are among the training entries too")


def _show(events: "Iterator[Event]", trackers: "Trackers", screen: Screen) -> None:
    """Run a training to its end: a bar, lines, numbers for the trackers."""
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    try:
        with Progress(*columns, TimeRemainingColumn(), console=screen.err, disable=screen.still, transient=True) as bar:
            for line in _follow(events, trackers, bar, screen):
                screen.say(line)
    finally:
        trackers.close()


def _follow(events: "Iterator[Event]", trackers: "Trackers", bar: Progress, screen: Screen) -> Iterator[str]:
    """Advance the bar, warn of what did not fit; yield what is worth a line."""
    from finetune.train import Evaluated, Milestone, Started, Stepped, Turned

    task = bar.add_task("fine-tuning", total=None, rate="")
    tokens, seconds = 0, 0.0
    for event in events:
        trackers.take(event)
        match event:
            case Started():
                bar.update(task, total=event.steps, completed=event.done)
                if event.done:
                    yield f"going on after step {event.done} of {event.steps}"
                for note in event.notes:
                    screen.warn(note)
            case Stepped():
                tokens, seconds = tokens + event.tokens, seconds + event.seconds
                rate = f"loss {event.loss:.2f} · {tokens / max(seconds, 1e-9):,.0f} tokens/s"
                bar.update(task, completed=event.step, rate=rate)
            case Evaluated():
                trained = "" if event.train_loss is None else f"training loss {event.train_loss:.3f}, "
                losses = f"{trained}validation loss {event.validation_loss:.3f}"
                yield f"step {event.step:>5}  epoch {event.epoch:4.2f}  {losses}"
            case Turned():
                yield (
                    f"overfitting: validation loss turned at step {event.step} "
                    f"({event.validation_loss:.3f} there, {event.now:.3f} now)"
                )
            case Milestone():
                asked, answered = (" ".join(text.split())[:60] for text in (event.question.question, event.answer))
                yield f'{event.name} answers "{asked}": "{answered}"'
            case _:
                pass
