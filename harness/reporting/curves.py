"""A training's course as small line charts, one for each number, as places in percent of the drawing.

Only places are computed here; the page's template draws them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.findings import Course, Losses, Report, Trajectory
from harness.reporting.numbers import digits_of, number
from harness.reporting.plots import Tick, nice_ticks, place

LABELS = 4  # steps named below a chart; more would stand in each other's way


@dataclass(frozen=True)
class Spot:
    """One checkpoint in a chart: places in percent from the left and from above.

    Attributes:
        x: Of its step.
        y: Of its value.
        top: Of the interval's upper end; None where it is not known.
        bottom: Of its lower end.
        label: Name, step and value.
        best: Whether it is the best of the course.
    """

    x: float
    y: float
    top: float | None
    bottom: float | None
    label: str
    best: bool


@dataclass(frozen=True)
class Curve:
    """A chart.

    Attributes:
        title: What it shows.
        described: The same in words.
        runs: Spots joined by lines; a checkpoint without a value parts them.
        levels: Ticks of the value axis, from above.
        steps: Ticks of the step axis.
        turned: Place of the step at which the validation loss turned; None where it did not.
    """

    title: str
    described: str
    runs: list[list[Spot]]
    levels: list[Tick]
    steps: list[Tick]
    turned: float | None


def curves_of(report: Report) -> list[Curve]:
    """A chart for every course of the trajectory; none without one."""
    along = report.trajectory
    if along is None:
        return []
    made = [_curve(course, along, report.losses) for course in along.courses]
    return [curve for curve in made if curve is not None]


def _curve(course: Course, along: Trajectory, losses: Losses | None) -> Curve | None:
    known = [v for v in course.values if v is not None and math.isfinite(v)]
    if not known:
        return None
    own = course.intervals or [None] * len(along.names)
    ends = [end for interval in own if interval is not None for end in interval if math.isfinite(end)]
    levels = nice_ticks(min(known + ends), max(known + ends), most=5)
    low, high = levels[0], levels[-1]
    digits = 3 if course.kind == "loss" else digits_of(known)
    spots: list[Spot | None] = []
    for n, (name, step, value) in enumerate(zip(along.names, along.steps, course.values, strict=True)):
        x, y = _across(step, along), _down(value, low, high)
        interval = own[n]
        if y is None:
            spots.append(None)
            continue
        bottom, top = (_down(end, low, high) for end in interval) if interval else (None, None)
        spots.append(Spot(x, y, top, bottom, f"{name}, step {step}: {number(value, digits)}", n == course.best))
    direction = "" if course.higher_is_better else ", lower is better"
    return Curve(
        title=f"{course.name}{direction}",
        described="; ".join(spot.label for spot in spots if spot),
        runs=_unbroken(spots),
        levels=[Tick(_down(level, low, high) or 0.0, f"{level:g}".replace("-", "−")) for level in levels],
        steps=[Tick(_across(step, along), str(step)) for step in _named(along.steps)],
        turned=None if losses is None or losses.turned is None else _across(losses.turned, along),
    )


def _across(step: int, along: Trajectory) -> float:
    first, last = along.steps[0], along.steps[-1]
    return place(min(max(step, first), last), first, last) or 0.0


def _down(value: float | None, low: float, high: float) -> float | None:
    found = place(value, low, high)
    return None if found is None else round(100 - found, 2)


def _named(steps: Sequence[int]) -> list[int]:
    """The first, the last, and some between them that are not too near to each other."""
    room = (steps[-1] - steps[0]) / LABELS
    named = [steps[0]]
    for step in steps[1:-1]:
        if step - named[-1] >= room and steps[-1] - step >= room:
            named.append(step)
    return [*named, steps[-1]]


def _unbroken(spots: Sequence[Spot | None]) -> list[list[Spot]]:
    runs: list[list[Spot]] = [[]]
    for spot in spots:
        if spot is None:
            runs.append([])
        else:
            runs[-1].append(spot)
    return [run for run in runs if run]
