"""How checkpoints are compared: what a user may choose."""

from dataclasses import dataclass

DRAWS = 10_000  # of the bootstrap, where its intervals are shown


@dataclass(frozen=True)
class Terms:
    """What a comparison is made under.

    Attributes:
        margin: Differences within it count as none, in points of a table; None where nobody said.
        draws: Of the bootstrap intervals that check the others; none at 0.
        allow_missing: Give verdicts however many items have no value.
    """

    margin: float | None = None
    draws: int = 0
    allow_missing: bool = False


PLAIN = Terms()
