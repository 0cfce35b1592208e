"""A trajectory as text: for each metric a small curve with its first, best and last value; what was lost on the way."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from harness.findings import Course, Losses, Trajectory
from harness.pictures.fitting import Column, fitted

BLOCKS = "▁▂▃▄▅▆▇█"
UNKNOWN = "·"
MOST_UNDRAWN = 4  # other trainings named
WIDEST = 24  # characters of a curve; longer ones show a selection


def trajectory_parts(trajectory: Trajectory, losses: Losses | None) -> Iterator[RenderableType]:
    """The curves, and under them where they turned and what was lost on the way."""
    steps = trajectory.steps
    yield Text(f" over steps {steps[0]} to {steps[-1]}, {len(steps)} checkpoints:")
    cells = [_cells(course, trajectory) for course in trajectory.courses]
    names, curves, first, best, at_step, last = map(list, zip(*cells, strict=True))
    columns = [
        Column("", names),
        Column("", curves, left=True, leaves=2, called="curve"),
        Column("first", first, leaves=1),
        Column("best", best),
        Column("at step", at_step, leaves=3),
        Column("last", last),
    ]
    yield fitted(columns, loose=True)
    for line in turning_lines(trajectory, losses):
        yield Text(f" {line}")


def _cells(course: Course, trajectory: Trajectory) -> list[str]:
    best = course.best
    if best is None:
        return [f" {course.name}", UNKNOWN * len(course.values), "", "", "", ""]
    places = [place for place, value in enumerate(course.values) if value is not None]
    first, highest, last = (_number(course, place) for place in (places[0], best, places[-1]))
    return [f" {course.name}", spark(course.values), first, highest, str(trajectory.steps[best]), last]


def _number(course: Course, place: int) -> str:
    """A value with half of its interval."""
    value = course.values[place]
    if value is None or course.kind == "loss":
        return "" if value is None else f"{value:.3f}"
    ends = course.intervals[place] if course.intervals else None
    return f"{value:.1f}" + (f" ±{(ends[1] - ends[0]) / 2:.1f}" if ends else "")


def spark(values: Sequence[float | None]) -> str:
    """A curve of block characters, lowest to highest value; a dot where nothing is known.

    Of more than `WIDEST` values some are left out, never the first and the last.
    """
    if len(values) > WIDEST:
        places = [round(n * (len(values) - 1) / (WIDEST - 1)) for n in range(WIDEST)]
        values = [values[place] for place in places]
    known = [value for value in values if value is not None]
    if not known:
        return UNKNOWN * len(values)
    low, high = min(known), max(known)
    if low == high:
        return "".join(UNKNOWN if value is None else BLOCKS[3] for value in values)
    top = len(BLOCKS) - 1
    return "".join(UNKNOWN if v is None else BLOCKS[round((v - low) / (high - low) * top)] for v in values)


def turning_lines(trajectory: Trajectory, losses: Losses | None) -> Iterator[str]:
    """What is not drawn, the judge's peak against the turn of the validation loss, and what was forgotten."""
    yield from _undrawn(trajectory)
    peak = _peak(trajectory)
    if losses is not None:
        turned = "did not turn in" if losses.turned is None else f"turned at step {losses.turned} of"
        said = f"validation loss {turned} {losses.steps} steps"
        yield f"{said}; {peak}" if peak else said
    elif peak:
        yield peak
    if trajectory.gained:
        won = ", ".join(f"{c.metric} {c.difference:+.1f} ({c.checkpoint})" for c in trajectory.gained)
        yield f"gained since {trajectory.base}: {won}"
    if trajectory.forgotten:
        lost = ", ".join(f"{c.metric} {c.difference:+.1f} ({c.checkpoint})" for c in trajectory.forgotten)
        yield f"forgotten since {trajectory.base}: {lost}"
    if trajectory.kept:
        yield f"not seen to be forgotten since {trajectory.base}: {', '.join(trajectory.kept)}"


def _undrawn(trajectory: Trajectory) -> Iterator[str]:
    """Which other trainings there are, and how to see their course."""
    if not trajectory.undrawn:
        return
    spans = [f"{own[0]} to {own[-1]}" if len(own) > 1 else own[0] for own in trajectory.undrawn]
    more = f" and {len(spans) - MOST_UNDRAWN} more" if len(spans) > MOST_UNDRAWN else ""
    which = "another training" if len(spans) == 1 else f"{len(spans)} other trainings"
    told = ", ".join(spans[:MOST_UNDRAWN])
    yield f"not drawn: {which} ({told}{more}); one is drawn where its checkpoints alone are named"


def _peak(trajectory: Trajectory) -> str | None:
    judged = next((course for course in trajectory.courses if course.kind == "judge"), None)
    best = judged.best if judged else None
    return (
        None if best is None else f"the judge's highest is at step {trajectory.steps[best]} ({trajectory.names[best]})"
    )
