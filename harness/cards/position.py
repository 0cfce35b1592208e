"""What the order in which two answers are shown does to a judge that compares them."""

from collections.abc import Sequence
from itertools import groupby

from harness.cards.card import Position
from harness.cards.rows import CardRow, by_subject
from harness.stats.counts import sign_test_p
from harness.stats.intervals import wilson_interval

MIDDLE = 0.5  # of a comparison's scale: neither is better


def position_of(rows: Sequence[CardRow]) -> Position:
    """How often the order decided, and which way (Shi et al. 2024, arXiv:2406.07791: consistency and fairness).

    Args:
        rows: Of one judge that compares, both orders of everything.
    """
    subjects = by_subject(rows).values()
    both = [pair for pair in map(_both_orders, subjects) if pair]
    signs = [(_sign(ab.score), _sign(ba.score)) for ab, ba in both]
    # Scores are about the checkpoint: it wins when shown first and loses when shown second where the first place wins.
    to_first, to_second = signs.count((1, -1)), signs.count((-1, 1))
    flips, pairs = to_first + to_second, len(both)
    share = wilson_interval(flips, pairs) if pairs else None
    leans = [_longer_won(*pair) for pair in both]
    return Position(
        pairs=pairs,
        incomplete=len(subjects) - pairs,
        flips=flips,
        low=share.low if share else None,
        high=share.high if share else None,
        to_first=to_first,
        to_second=to_second,
        p=sign_test_p(to_first, to_second),
        half=sum(a != b and 0 in (a, b) for a, b in signs),
        ties=signs.count((0, 0)),
        longer=leans.count(True),
        shorter=leans.count(False),
    )


def _both_orders(rows: Sequence[CardRow]) -> tuple[CardRow, CardRow] | None:
    """The two orders of the first repeat in which both are scored."""
    scored = sorted((row for row in rows if row.score is not None), key=lambda row: (row.repeat, row.order))
    for _, same in groupby(scored, key=lambda row: row.repeat):
        by_order = {row.order: row for row in same}
        if "AB" in by_order and "BA" in by_order:
            return by_order["AB"], by_order["BA"]
    return None


def _sign(score: float | None) -> int:
    """1 where the checkpoint won, -1 where the other did, 0 for a tie."""
    assert score is not None
    return (score > MIDDLE) - (score < MIDDLE)


def _longer_won(ab: CardRow, ba: CardRow) -> bool | None:
    """Whether the longer answer won over both orders; None where nothing won, or both are as long."""
    assert ab.score is not None
    assert ba.score is not None
    won = _sign((ab.score + ba.score) / 2)
    if ab.length is None or ab.other_length is None or ab.length == ab.other_length or won == 0:
        return None
    return (won > 0) == (ab.length > ab.other_length)
