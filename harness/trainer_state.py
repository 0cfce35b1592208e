"""Losses that another trainer left: `trainer_state.json` of the Trainer and all built on it, LLaMA-Factory's log."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from harness.expansion import MERGED, is_checkpoint_of_several, step_in_name, steps_in

STATE, LOG = "trainer_state.json", "trainer_log.jsonl"
OUR_HISTORY = "history.jsonl"
POINTS = 200  # of a training curve that a run keeps of each checkpoint: enough to draw, little to rewrite

Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Progress:
    """How far a checkpoint's training had come.

    Attributes:
        step: Optimizer steps done; None where nothing says.
        training: (step, loss in nats a token since the point before), at most `POINTS`.
        validation: (step, loss in nats a token).
        remarks: What could not be read.
    """

    step: int | None = None
    training: Curve = field(default_factory=list)
    validation: Curve = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _State:
    """One file's losses; `planned` is the last step the training was to have."""

    path: Path
    step: int | None
    planned: int | None
    training: Curve
    validation: Curve

    @property
    def length(self) -> tuple[int, int]:
        """How much it knows."""
        return len(self.training) + len(self.validation), self.step or 0


def read_progress(folder: Path) -> Progress:
    """What was left of a checkpoint's training, in its own folder, in that above it, or beside it.

    A checkpoint's own state is the one it was saved with. Where that is missing or cannot be read, and for a
    final model, the longest state there is stands in, up to the checkpoint's step. What cannot be read is a
    remark: losses are worth showing, not worth stopping for.
    """
    folder = folder.resolve()
    remarks: list[str] = []
    own = _read_state(folder / STATE, remarks)
    one_of_several = is_checkpoint_of_several(folder)
    top = folder.parent if one_of_several else folder
    named = step_in_name(folder.name)
    state = own if own and (one_of_several or own.length[0]) else _longest(top, own, remarks)
    if state is None:
        return Progress(named, remarks=remarks)
    last = (own.step if own else None) or named
    if last is None and (not one_of_several or folder.name == MERGED):
        last = state.step if state.path == top / STATE else state.planned or state.step
    until = math.inf if last is None else last
    return Progress(
        last, _thinned(_up_to(state.training, until)), _up_to(state.validation, until), list(dict.fromkeys(remarks))
    )


def _longest(top: Path, own: _State | None, remarks: list[str]) -> _State | None:
    """The state with most losses in a folder and its checkpoints, else LLaMA-Factory's log."""
    paths = [top / STATE, *(step / STATE for step in steps_in(top))] if top.is_dir() else []
    states = [own, *(_read_state(path, remarks) for path in paths)]
    found = max((s for s in states if s is not None), key=lambda s: s.length, default=None)
    return found if found is not None and found.length[0] else _read_log(top / LOG, remarks) or found


def _read_state(path: Path, remarks: list[str]) -> _State | None:
    if not path.is_file():
        return None
    try:
        raw = json.loads(path.read_bytes())
        history = raw.get("log_history") or []
        points = [point for point in history if isinstance(point, dict)]
    except (ValueError, OSError, AttributeError, TypeError):
        remarks.append(f"{path} cannot be read; its losses are not shown")
        return None
    step, planned = _whole(raw.get("global_step")), _whole(raw.get("max_steps"))
    return _State(path, step, planned, _curve(points, "step", "loss"), _curve(points, "step", "eval_loss"))


def _read_log(path: Path, remarks: list[str]) -> _State | None:
    """LLaMA-Factory's own log; a line that is torn is left out."""
    points = _json_lines(path, remarks)
    training, validation = _curve(points, "current_steps", "loss"), _curve(points, "current_steps", "eval_loss")
    if not training and not validation:
        return None
    planned = max((n for p in points if (n := _whole(p.get("total_steps")))), default=None)
    return _State(path, max(s for s, _ in [*training, *validation]), planned, training, validation)


def our_training_curve(folder: Path, until: int) -> Curve:
    """Training losses between validations, from the history that our own core keeps above its checkpoints."""
    points = _json_lines(folder.resolve().parent / OUR_HISTORY, [])
    return _thinned(_up_to(_curve([p for p in points if "validation_loss" in p], "step", "train_loss"), until))


def _json_lines(path: Path, remarks: list[str]) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except OSError:
        remarks.append(f"{path} cannot be read; its losses are not shown")
        return []
    return [value for line in lines if isinstance(value := _value(line), dict)]


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _curve(points: Iterable[dict[str, Any]], at: str, what: str) -> Curve:
    """In step order; a resumed training logs a step again, and the last word counts. What is no number is no point."""
    named = [(_whole(point.get(at)), _finite(point.get(what))) for point in points]
    return sorted({step: loss for step, loss in named if step is not None and loss is not None}.items())


def _whole(value: Any) -> int | None:
    number = _finite(value)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def _finite(value: Any) -> float | None:
    """A number, also one that was written as text; nothing for NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _up_to(curve: Sequence[tuple[int, float]], last: float) -> Curve:
    return [point for point in curve if point[0] <= last]


def _thinned(curve: Curve) -> Curve:
    """Means of stretches: single steps' losses are noise."""
    size = -(-len(curve) // POINTS)
    if size <= 1:
        return curve
    stretches = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(stretch[-1][0], fmean(loss for _, loss in stretch)) for stretch in stretches]
