"""A panel from the scores of several judges."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from harness.cards.panel import PairAgreement, Panel, PanelRow
from harness.stats.agreement import krippendorff_alpha, spearman
from harness.stats.bootstrap import bootstrap_interval
from harness.stats.intervals import Floats, constant_interval, t_interval

TOP = 100.0  # scores of judges with different scales are all put on 0 to this

PanelScores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Scores by judge, checkpoint and item."""


def panel_of(scores: PanelScores, scales: Mapping[str, tuple[float, float]], *, seed: int = 0) -> Panel | None:
    """Judges side by side, on the items that all of them scored for all checkpoints.

    A leave-one-judge-out table shows whether a finding is one judge's alone (Verga et al. 2024, arXiv:2404.18796, on
    panels); with two judges "without" one is the other.

    Args:
        scores: Of at least two judges, for the same checkpoints; items without a score are not there.
        scales: Lowest and highest score of each judge.
        seed: Of the bootstrap.

    Returns:
        None where no item was scored by all for all.
    """
    judges, checkpoints = [*scores], [*next(iter(scores.values()))]
    if len(judges) < 2 or not checkpoints or any(set(own) != set(checkpoints) for own in scores.values()):
        raise ValueError(f"a panel takes two or more judges of the same checkpoints, got {judges} of {checkpoints}")
    sets = [set(scores[judge][checkpoint]) for judge in judges for checkpoint in checkpoints]
    items = sorted(set.intersection(*sets))
    if not items:
        return None
    rescaled = len({scales[judge] for judge in judges}) > 1
    cube = np.array([[[scores[j][c][item] for item in items] for c in checkpoints] for j in judges])
    if rescaled:
        cube = np.stack([_on_top(own, scales[judge]) for own, judge in zip(cube, judges, strict=True)])
    scale = (0.0, TOP) if rescaled else scales[judges[0]]
    rows = [_row(name, cube[:, place], judges, scale) for place, name in enumerate(checkpoints)]
    means = {row.checkpoint: row.mean for row in rows}
    without = {judge: {row.checkpoint: row.without[judge] for row in rows} for judge in judges}
    first = _highest(means)
    alpha = bootstrap_interval(_alpha, cube, seed=seed)
    return Panel(
        judges=judges,
        scale=scale,
        rescaled=rescaled,
        items=len(items),
        left_out=len(set.union(*sets)) - len(items),
        rows=rows,
        winner=first[0] if len(first) == 1 else None,
        other_winner={judge: _highest(own) for judge, own in without.items() if _highest(own) != first},
        reordered=[judge for judge, own in without.items() if _reordered(means, own)],
        alpha=_known(alpha.estimate),
        alpha_low=_known(alpha.low),
        alpha_high=_known(alpha.high),
        pairs=[_pair(cube[[a, b]], (judges[a], judges[b])) for a, b in combinations(range(len(judges)), 2)],
    )


def _on_top(values: Floats, scale: tuple[float, float]) -> Floats:
    """Values of one scale on 0 to 100."""
    low, high = scale
    return (values - low) / (high - low) * TOP


def _row(checkpoint: str, values: Floats, judges: Sequence[str], scale: tuple[float, float]) -> PanelRow:
    """One checkpoint; `values` (judges, items)."""
    means = values.mean(axis=0)
    same = bool(np.ptp(means) < 1e-9)
    interval = constant_interval(float(means[0]), len(means), scale) if same else t_interval(means)
    alone = values.mean(axis=1)
    rest = (alone.sum() - alone) / (len(judges) - 1)
    return PanelRow(
        checkpoint=checkpoint,
        mean=interval.estimate,
        low=max(interval.low, scale[0]),
        high=min(interval.high, scale[1]),
        by_judge=dict(zip(judges, alone.tolist(), strict=True)),
        without=dict(zip(judges, rest.tolist(), strict=True)),
    )


def _highest(means: Mapping[str, float]) -> list[str]:
    """Whoever has the highest mean; differences as small as rounding are none."""
    top = max(means.values())
    return [name for name, mean in means.items() if np.isclose(mean, top, rtol=1e-9, atol=1e-9)]


def _reordered(means: Mapping[str, float], others: Mapping[str, float]) -> bool:
    """Whether some two names stand the other way round; a tie is no change."""
    pairs = combinations(means, 2)
    return any((means[a] - means[b]) * (others[a] - others[b]) < -1e-12 for a, b in pairs)


def _alpha(cube: Floats) -> float:
    """Over all answers; `cube` (judges, checkpoints, items). Drawn by item, all checkpoints' answers together."""
    return krippendorff_alpha(cube.reshape(len(cube), -1), level="interval")


def _pair(cube: Floats, judges: tuple[str, str]) -> PairAgreement:
    """How two judges rank all answers; `cube` (2, checkpoints, items)."""
    one, other = cube.reshape(2, -1)
    return PairAgreement(judges=judges, spearman=_known(spearman(one, other)), n=len(one))


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
