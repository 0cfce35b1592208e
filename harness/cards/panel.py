"""Several judges on the same items: their mean, what each of them changes, how far they agree."""

from pydantic import BaseModel


class PanelRow(BaseModel):
    """One checkpoint before several judges.

    Attributes:
        checkpoint: Its name.
        mean: Over items of the mean over judges.
        low: Lower end of its 95 % interval over items, for these judges.
        high: Upper end.
        by_judge: Mean of each judge alone.
        without: Mean with each judge left out.
    """

    checkpoint: str
    mean: float
    low: float
    high: float
    by_judge: dict[str, float]
    without: dict[str, float]


class PairAgreement(BaseModel):
    """Two judges on the same answers.

    Attributes:
        judges: Their names.
        spearman: Rank correlation over all answers; None where one of them says the same of all.
        n: Answers both scored.
    """

    judges: tuple[str, str]
    spearman: float | None
    n: int


class Panel(BaseModel):
    """Several judges together.

    Attributes:
        judges: In the order given.
        scale: Of all numbers here.
        rescaled: Whether the judges' scales differ, so that all were put on 0 to 100.
        items: Items that every judge scored for every checkpoint: all means are over these.
        left_out: Items that some judge scored, but not all for all.
        rows: In the order given.
        winner: Checkpoint of the highest mean; None where several share it.
        other_winner: For judges without whom another checkpoint has the highest mean, or shares it: which.
        reordered: Judges without whom some two checkpoints change places.
        alpha: Krippendorff's, interval level, over all answers; None where it is not defined.
        alpha_low: Lower end of its 95 % bootstrap interval over items.
        alpha_high: Upper end.
        pairs: Every two judges.
    """

    judges: list[str]
    scale: tuple[float, float]
    rescaled: bool
    items: int
    left_out: int
    rows: list[PanelRow]
    winner: str | None
    other_winner: dict[str, list[str]]
    reordered: list[str]
    alpha: float | None
    alpha_low: float | None = None
    alpha_high: float | None = None
    pairs: list[PairAgreement]
