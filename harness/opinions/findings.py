"""What people said of the answers, beside what the judge said of them."""

from typing import Literal

from pydantic import BaseModel

Headline = Literal["judge", "people", "corrected"]


class Line(BaseModel):
    """One estimate of one number, in points of the judge's scale.

    Attributes:
        estimate: The number.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Items it rests on; of the corrected line the labels it is worth.
    """

    estimate: float
    low: float
    high: float
    n: float


class Opinion(BaseModel):
    """One checkpoint's score, or its difference to the baseline, by the judge, by people, and by both.

    Attributes:
        checkpoint: Name.
        baseline: What it is compared with, on the same items; None where this is its own score.
        judge: By the judge alone, on all items judged.
        people: By people alone, on the items they labelled; None with fewer than two.
        corrected: The judge's corrected by people (PPI++); None where labels are too few, or were picked by hand.
        r: Correlation of judge and people over the items labelled; None where one of them is constant.
        weight: Of the judge in the correction, 0 to 1 (the lambda of PPI++); 0 leaves the labels alone.
        headline: Which of the three to go by.
        items: Items labelled, of those drawn at random: by these the headline is decided.
    """

    checkpoint: str
    baseline: str | None = None
    judge: Line
    people: Line | None = None
    corrected: Line | None = None
    r: float | None = None
    weight: float | None = None
    headline: Headline = "judge"
    items: int = 0

    @property
    def checked(self) -> Line | None:
        """The line to go by where it rests on people; None where it is the judge's alone."""
        return {"judge": None, "people": self.people, "corrected": self.corrected}[self.headline]


class Opinions(BaseModel):
    """What people said of the checkpoints of the first judged table.

    Attributes:
        judge: Judge and rubric.
        raters: Who labelled.
        labels: How many count.
        scale: Of scores and differences: the judge's.
        scores: Of each checkpoint labelled.
        differences: Of each but the baseline.
        wins: How often each is preferred to the baseline, in percent, a tie being half; where two were compared.
        notes: What limits them, a sentence each.
    """

    judge: str
    raters: list[str]
    labels: int
    scale: tuple[float, float]
    scores: list[Opinion] = []
    differences: list[Opinion] = []
    wins: list[Opinion] = []
    notes: list[str] = []
