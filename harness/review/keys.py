"""What the keys of a review mean: the numbers of a scale, or which of two answers is better."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.errors import HarnessError
from harness.validation.labels import Scale, scale_of

Command = Literal["skip", "undo", "note", "quit", "help"]

MOST = 10  # values that have a key each
STRETCHED: Scale = (1.0, 5.0)  # where the judge's own scale has more
PREFERENCES: Mapping[str, float] = {"a": 1.0, "b": 0.0, "t": 0.5}
COMMANDS: Mapping[str, Command] = {"s": "skip", "u": "undo", "n": "note", "q": "quit", "?": "help"}


@dataclass(frozen=True)
class Keys:
    """What can be said of an answer, or of a pair.

    Attributes:
        scale: Of the scores.
        scores: Of each key. Of a pair: 1 where the answer shown first is better.
        pairs: Whether two answers are compared.
        remark: What to say of the scale before anything is shown.
    """

    scale: Scale
    scores: Mapping[str, float] = field(default_factory=dict)
    pairs: bool = False
    remark: str = ""

    @property
    def line(self) -> str:
        """The keys in one line."""
        if self.pairs:
            said = "a or b: that one is better, t: tie"
        else:
            first, *_, last = self.scores
            last = f"{last} (={self.scale[1]:g})" if last != f"{self.scale[1]:g}" else last
            said = f"{first}-{last}: how good it is"
        return f"{said} · s skip · u undo · n note · q quit · ? help"


def keys_for(wanted: str | None, judge: Scale | None, *, pairs: bool = False) -> Keys:
    """The keys for a scale.

    Args:
        wanted: The scale as the user wrote it; None: the judge's own where it has at most ten values, else 1 to 5,
            which is stretched to the judge's ends.
        judge: The judge's scale; None where nobody scored.
        pairs: Whether two answers are compared; they need no scale.

    Raises:
        HarnessError: If it is none, or has more values than there are keys.
    """
    if pairs:
        if wanted:
            raise HarnessError("--scale: wanted one with scores, found it with --pairs, which asks which is better")
        return Keys((0.0, 1.0), PREFERENCES, pairs=True)
    if wanted is None:
        scale, remark = _usual(judge)
        return Keys(scale, _digits(scale), remark=remark)
    own = scale_of(wanted, "--scale")
    if own is None or not _fits(own):
        raise HarnessError(f"--scale {wanted}: wanted whole numbers, at most {MOST} of them from 0 to 10, such as 1-5")
    return Keys(own, _digits(own))


def _usual(judge: Scale | None) -> tuple[Scale, str]:
    if judge and _fits(judge):
        return judge, f"scale: the judge's own, {judge[0]:g} to {judge[1]:g}"
    if judge:
        return STRETCHED, f"scale: 1 to 5, stretched to the judge's {judge[0]:g} to {judge[1]:g} by compare"
    return STRETCHED, "scale: 1 to 5"


def _fits(scale: Scale) -> bool:
    low, high = scale
    return low.is_integer() and high.is_integer() and 0 <= low < high <= 10 and high - low < MOST


def _digits(scale: Scale) -> dict[str, float]:
    """A digit for each value; 0 stands for 10."""
    return {str(value % 10): float(value) for value in range(int(scale[0]), int(scale[1]) + 1)}
