"""What is known of a judge from its own judgments: the small print of every judged table."""

from typing import Literal

from pydantic import BaseModel

Favours = Literal["length", "brevity", "no trend shown"]


class Position(BaseModel):
    """Pairs of answers that were scored in both orders.

    Attributes:
        pairs: Their number. Of repeats only the first with both orders counts, since repeats share their answers.
        incomplete: Pairs without a score in one of the orders.
        flips: Pairs whose winner changed with the order.
        low: Lower end of the 95 % interval (Wilson) of the share of flips.
        high: Upper end.
        to_first: Flips in which the answer shown first won both times.
        to_second: Flips in which the one shown second did.
        p: Of flips going to either place equally often; exact sign test, two-sided.
        half: Pairs with a winner in one order and a tie in the other: no flip, though not the same either.
        ties: Pairs that tied in both orders.
        longer: Pairs of which the longer answer won (mean of both orders).
        shorter: Pairs of which the shorter one did.
    """

    pairs: int
    incomplete: int = 0
    flips: int = 0
    low: float | None = None
    high: float | None = None
    to_first: int = 0
    to_second: int = 0
    p: float = 1.0
    half: int = 0
    ties: int = 0
    longer: int = 0
    shorter: int = 0


class LengthTrend(BaseModel):
    """How scores go with the length of the answers, within checkpoints.

    It does not tell why: long answers may be better, or cut off at the limit.

    Attributes:
        slope: Points for each doubling of the length in characters.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Answers it rests on.
    """

    slope: float
    low: float
    high: float
    n: int

    @property
    def favours(self) -> Favours:
        """What the interval shows."""
        if self.low > 0:
            return "length"
        return "brevity" if self.high < 0 else "no trend shown"


class HumanAgreement(BaseModel):
    """How far the judge agrees with people.

    Attributes:
        measure: What is measured: "Spearman", "Cohen's kappa".
        estimate: Its value.
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Labels it rests on.
    """

    measure: str
    estimate: float
    low: float
    high: float
    n: int


class Repeats(BaseModel):
    """What the judge said of the same more than once.

    Attributes:
        subjects: Answers (of a comparison: pairs in one order) scored more than once.
        sd: Within them, pooled, in points of the scale.
        differ: Of them, how many did not get the same score every time.
    """

    subjects: int
    sd: float
    differ: int


class JudgeCard(BaseModel):
    """One judge on the test items of the checkpoints shown.

    Attributes:
        judge: Its name.
        rubric: Name and version of what it was asked.
        form: How its replies were asked for; "" where no model was asked.
        scale: Lowest and highest score.
        by_rule: Whether no model was asked: `reference` and checks.
        n: Judgments.
        scored: Of these, with a score.
        weighted: Of these, weighted by the probabilities of the score's tokens.
        unscored: Without, by reason.
        details: Of each reason what was said most often.
        failed: By checkpoint: answers (or pairs) without a score from every judgment, and answers in all.
        at_low: Scores at the lower end of the scale, as written.
        at_high: Scores at the upper end.
        length: None where it cannot be said: too few answers, nothing varies, or two are compared.
        position: Of a judge that compares.
        repeats: None where nothing was judged twice.
        asked_again: Judgments whose first reply could not be used.
        prompt_tokens: Of all judgments that say; None where none does.
        output_tokens: The same of the replies.
        seconds: Spent waiting for replies, all together.
        agreement: With people, where it was measured.
        warnings: What makes the scores doubtful, a sentence each.
    """

    judge: str
    rubric: str = ""
    form: str = ""
    scale: tuple[float, float]
    by_rule: bool = False
    n: int
    scored: int
    weighted: int = 0
    unscored: dict[str, int] = {}
    details: dict[str, str] = {}
    failed: dict[str, tuple[int, int]] = {}
    at_low: int = 0
    at_high: int = 0
    length: LengthTrend | None = None
    position: Position | None = None
    repeats: Repeats | None = None
    asked_again: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float = 0.0
    agreement: HumanAgreement | None = None
    warnings: list[str] = []
