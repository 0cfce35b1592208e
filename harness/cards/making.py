"""A judge card from what a judge said."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np

from harness.cards.card import HumanAgreement, JudgeCard, LengthTrend, Repeats
from harness.cards.position import position_of
from harness.cards.rows import CardRow, Subject, by_subject
from harness.cards.warnings import related, uneven
from harness.comparing.scores import EXPECTED
from harness.stats.regression import doublings, within_slope

_RULES = ("reference", "check")  # judges that ask no model
_ENOUGH = 10  # answers: fewer have no trend worth showing


def card_of(
    judge: str,
    scale: tuple[float, float],
    rows: Sequence[CardRow],
    *,
    rubric: str = "",
    form: str = "",
    bases: Mapping[str, Sequence[str]] | None = None,
    agreement: HumanAgreement | None = None,
) -> JudgeCard:
    """The card of one judge with one rubric.

    Args:
        judge: Its name.
        scale: Lowest and highest score; of a judge that compares (0, 1).
        rows: Everything it said of the test items, of every checkpoint shown, repeats and both orders included.
        rubric: Name and version.
        form: How replies were asked for.
        bases: By name of the checkpoint, what else it and its base are called, to find a judge of the same family.
        agreement: With people, where labels were compared.
    """
    scored = [row for row in rows if row.score is not None]
    together = by_subject(rows)
    by_rule = judge in _RULES
    card = JudgeCard(
        judge=judge,
        rubric=rubric,
        form=form,
        scale=scale,
        by_rule=by_rule,
        n=len(rows),
        scored=len(scored),
        weighted=sum(row.written is not None for row in scored),
        unscored=dict(Counter(row.unscored or "unscored" for row in rows if row.score is None).most_common()),
        details=_details(rows),
        failed=_failed(together),
        at_low=sum(_as_written(row) <= scale[0] for row in scored),
        at_high=sum(_as_written(row) >= scale[1] for row in scored),
        agreement=agreement,
    )
    if by_rule:
        return card
    compares = any(row.order for row in rows)
    with_score = {what: kept for what, same in together.items() if (kept := [r for r in same if r.score is not None])}
    return card.model_copy(
        update={
            "length": None if compares else _length_trend(with_score.values()),
            "position": position_of(rows) if compares else None,
            "repeats": _repeats(with_score.values()),
            "asked_again": sum(row.asked_again for row in rows),
            "prompt_tokens": _total([row.prompt_tokens for row in rows]),
            "output_tokens": _total([row.output_tokens for row in rows]),
            "seconds": sum(row.seconds for row in rows),
            "warnings": [*uneven(card.failed), *related(judge, _names(rows), bases or {})],
        }
    )


def _details(rows: Sequence[CardRow]) -> dict[str, str]:
    """What is said most often of each reason for no score."""
    said: dict[str, Counter[str]] = {}
    for row in rows:
        if row.score is None and row.detail:
            said.setdefault(row.unscored or "unscored", Counter())[row.detail] += 1
    return {reason: details.most_common(1)[0][0] for reason, details in said.items()}


def _as_written(row: CardRow) -> float:
    """A score weighted by probabilities is at an end of the scale only where the judge was quite sure."""
    value = row.score if row.written is None else row.written
    assert value is not None
    return value


def _names(rows: Sequence[CardRow]) -> list[str]:
    """Whose answers were shown to the judge; nobody wrote the expected ones."""
    named = dict.fromkeys(name for row in rows for name in (row.checkpoint, row.other))
    return [name for name in named if name not in ("", EXPECTED)]


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _failed(together: Mapping[Subject, Sequence[CardRow]]) -> dict[str, tuple[int, int]]:
    """By checkpoint: answers or pairs that lack a score, and all. Repeats and orders of one fail together."""
    failed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (checkpoint, *_), same in together.items():
        total[checkpoint] += 1
        failed[checkpoint] += any(row.score is None for row in same)
    return {checkpoint: (failed[checkpoint], n) for checkpoint, n in total.items()}


def _length_trend(scored: Iterable[Sequence[CardRow]]) -> LengthTrend | None:
    """Over answers, a repeated one with its mean; as written would tell the same with more noise."""
    known = [(same[0], _mean_score(same), same[0].length) for same in scored]
    answers = [(row, score, length) for row, score, length in known if length is not None]
    if len(answers) < _ENOUGH:
        return None
    found = within_slope(
        np.array([score for _, score, _ in answers]),
        doublings([length for _, _, length in answers]),
        [row.checkpoint for row, _, _ in answers],
        [row.item for row, _, _ in answers],
    )
    if not np.isfinite([found.low, found.high]).all():
        return None
    return LengthTrend(slope=found.estimate, low=found.low, high=found.high, n=len(answers))


def _mean_score(same: Sequence[CardRow]) -> float:
    scores = [row.score for row in same if row.score is not None]
    return scores[0] if len(scores) == 1 else fmean(scores)


def _repeats(scored: Iterable[Sequence[CardRow]]) -> Repeats | None:
    """Pooled within-subject standard deviation: sqrt(sum of squares / sum of (times - 1))."""
    times = [
        np.array([row.score for row in same if row.order == order], dtype=np.float64)
        for same in scored
        if len(same) > 1
        for order in sorted({row.order for row in same})
    ]
    times = [scores for scores in times if len(scores) > 1]
    if not times:
        return None
    squares = sum(float(((scores - scores.mean()) ** 2).sum()) for scores in times)
    freedom = sum(len(scores) - 1 for scores in times)
    differ = sum(bool(np.ptp(scores) > 0) for scores in times)
    return Repeats(subjects=len(times), sd=(squares / freedom) ** 0.5, differ=differ)
