"""What a validation found, ready to be shown and kept."""

import math
from typing import Literal

from pydantic import BaseModel

from harness.stats.intervals import Interval

Words = Literal[
    "unfinished",
    "usable for ranking",
    "only with human correction",
    "passes the planted probes; unchecked against people",
    "not usable",
]


class Estimate(BaseModel):
    """A number with its 95 % interval.

    Attributes:
        value: None where it is not defined, as a correlation with a constant.
        low: Lower end; None where it has no bound.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, interval: Interval) -> "Estimate":
        """With None for what is not finite, which JSON cannot hold."""
        ends = (interval.estimate, interval.low, interval.high)
        value, low, high = (end if math.isfinite(end) else None for end in ends)
        return cls(value=value, low=low, high=high)


class Failure(BaseModel):
    """An item on which a probe failed, and the scores it rests on."""

    item_id: str
    scores: dict[str, float]


class ProbeResult(BaseModel):
    """One probe over all its items.

    Attributes:
        name: Short.
        wants: What must hold.
        vital: Whether a judge that fails it is of no use.
        passed: Cases that held.
        n: Cases in which everything was scored.
        rate: Share of those that held, with Wilson's interval, from 0 to 1; undefined where n is 0.
        unscored: Cases in which something has no score, by reason: they neither hold nor fail.
        failures: Those that did not hold.
    """

    name: str
    wants: str
    vital: bool
    passed: int
    n: int
    rate: Estimate
    unscored: dict[str, int] = {}
    failures: list[Failure] = []


class Flips(BaseModel):
    """Pairs shown in both orders: how often the order changed what was said.

    Attributes:
        n: Pairs scored in both.
        flipped: Of these, pairs with another winner, or a tie in one order only.
        rate: Share of flipped ones, with Wilson's interval.
        to_first: Flipped in favour of the first place.
        to_second: In favour of the second.
        p: Sign test of these two: that neither place is preferred.
    """

    n: int
    flipped: int
    rate: Estimate
    to_first: int
    to_second: int
    p: float


class Bias(BaseModel):
    """Mean of judge minus people on one checkpoint's answers, in points of the judge's scale."""

    checkpoint: str
    n: int
    bias: Estimate


class DifferentialBias(BaseModel):
    """The pair of checkpoints between which the bias differs most: what a comparison of them would take for real.

    Attributes:
        one: The checkpoint that the judge is kinder to.
        other: The other one.
        difference: Bias on the one minus bias on the other; interval at 95 % over all pairs (Bonferroni).
        pairs: How many pairs there are.
    """

    one: str
    other: str
    difference: Estimate
    pairs: int


class People(BaseModel):
    """A judge's scores beside those of people, on the same answers.

    Attributes:
        n: Answers that both scored.
        items: Items these belong to; intervals are drawn over items.
        labels: Labels in the file.
        missing: Labels without a verdict to compare, by reason.
        raters: Who gave labels.
        scales: Scales of the labels.
        parts: Categories that agreement and kappa are counted in.
        same: Share of answers in the same category.
        kappa: Cohen's, quadratic weights.
        alpha: Krippendorff's, interval level, the judge being one of the raters.
        spearman: Rank correlation.
        kendall: Tau-b.
        pass_at: Score on the judge's scale from which on an answer passes.
        sensitivity: Of the answers that people pass, those that the judge passes.
        specificity: Of those that people fail, those that the judge fails.
        bias: Mean of judge minus people, in points of the judge's scale.
        by_checkpoint: The same of each checkpoint.
        differential: None with fewer than two checkpoints.
        ceiling: Krippendorff's alpha among people; None with one rater.
        ceiling_same: Share of equal categories over pairs of people.
    """

    n: int
    items: int
    labels: int
    missing: dict[str, int]
    raters: list[str]
    scales: list[tuple[float, float]]
    parts: int
    same: Estimate
    kappa: Estimate
    alpha: Estimate
    spearman: Estimate
    kendall: Estimate
    pass_at: float
    sensitivity: Estimate
    specificity: Estimate
    bias: Estimate
    by_checkpoint: list[Bias]
    differential: DifferentialBias | None = None
    ceiling: Estimate | None = None
    ceiling_same: Estimate | None = None


class Trust(BaseModel):
    """What the judge may be used for, and why not for more."""

    words: Words
    reasons: list[str]


class Validation(BaseModel):
    """All of it.

    Attributes:
        judge: Name.
        rubric: Name and version.
        judge_fingerprint: Hash of what decides its replies.
        scale: Lowest and highest score.
        data: Label of the data set that probes were made from.
        entries: How many of its entries were drawn.
        asked: Judgments that the probes rest on.
        probes: Results.
        left_out: Probes that do not fit this judge, and why, by name.
        flips: Of a judge that compares.
        people: None without labels.
        trust: The verdict.
    """

    judge: str
    rubric: str
    judge_fingerprint: str
    scale: tuple[float, float]
    data: str
    entries: int
    asked: int
    probes: list[ProbeResult]
    left_out: dict[str, str]
    flips: Flips | None = None
    people: People | None = None
    trust: Trust
