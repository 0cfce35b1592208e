"""Metrics that exist only over many items, computed again from what lm-eval keeps of each.

A paired bootstrap draws items and asks for the number over those drawn; `aggregate` is that number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.errors import unknown_name

Part = Any  # JSON: a number, (gold, predicted), (log-likelihood, weight), (reference, text), ...


def aggregate(aggregation: str, parts: Sequence[Part]) -> float:
    """The number over these items; nan where it is not defined, as over no items.

    Args:
        aggregation: A key of `AGGREGATIONS`.
        parts: What was kept of each item under the metric; an item may be there several times.

    Raises:
        BenchmarkError: If the aggregation is none of ours.
    """
    if aggregation not in AGGREGATIONS:
        raise unknown_name("aggregation", aggregation, AGGREGATIONS)
    return float(AGGREGATIONS[aggregation](parts)) if len(parts) else math.nan


def _mean(parts: Sequence[Part]) -> float:
    return math.fsum(parts) / len(parts)


def _nanmean(parts: Sequence[Part]) -> float:
    told = [part for part in parts if part is not None and not math.isnan(part)]
    return _mean(told) if told else math.nan


def _median(parts: Sequence[Part]) -> float:
    """The upper of the two in the middle, as lm-eval has it."""
    return float(sorted(parts)[len(parts) // 2])


def _perplexity(parts: Sequence[Part]) -> float:
    """The exp of the mean negative log-likelihood (nats) of an item."""
    return _exp(-_mean(parts))


def _weighted(parts: Sequence[Part]) -> float:
    """Sum of log-likelihoods over the sum of weights (words or bytes)."""
    weight = math.fsum(weight for _, weight in parts)
    return math.fsum(loglikelihood for loglikelihood, _ in parts) / weight if weight else math.nan


def _weighted_perplexity(parts: Sequence[Part]) -> float:
    return _exp(-_weighted(parts))


def _bits_per_byte(parts: Sequence[Part]) -> float:
    return -_weighted(parts) / math.log(2)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _f1(parts: Sequence[Part]) -> float:
    """Of class 1, from (gold, predicted); 0 where neither has it."""
    gold, predicted = _columns(parts)
    hits = int(((gold == 1) & (predicted == 1)).sum())
    named = int((gold == 1).sum()) + int((predicted == 1).sum())
    return 2 * hits / named if named else 0.0


def _matthews(parts: Sequence[Part]) -> float:
    """Correlation of (gold, predicted) over any number of classes (Gorodkin 2004); 0 where one side is constant."""
    gold, predicted = _columns(parts)
    classes = np.union1d(gold, predicted)
    of_gold = np.array([(gold == c).sum() for c in classes], dtype=float)
    of_predicted = np.array([(predicted == c).sum() for c in classes], dtype=float)
    n = float(len(gold))
    covariance = float((gold == predicted).sum()) * n - float(of_gold @ of_predicted)
    spread = (n * n - float(of_gold @ of_gold)) * (n * n - float(of_predicted @ of_predicted))
    return covariance / math.sqrt(spread) if spread else 0.0


def _columns(parts: Sequence[Part]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return np.array([part[0] for part in parts]), np.array([part[1] for part in parts])


def _brier(parts: Sequence[Part]) -> float:
    """Mean squared distance of the predicted distribution from the right class, from (gold, distribution)."""
    distances = []
    for gold, distribution in parts:
        wanted = np.zeros(len(distribution))
        wanted[int(gold)] = 1.0
        distances.append(float(((np.array(distribution) - wanted) ** 2).sum()))
    return _mean(distances)


def _flat_mean(parts: Sequence[Part]) -> float:
    """Over everything in the items' lists (IFEval's instructions: an item has one or more)."""
    everything = [float(value) for part in parts for value in part]
    return _mean(everything) if everything else math.nan


def _translation(score: str, **options: Any) -> Callable[[Sequence[Part]], float]:
    """A corpus score of sacrebleu, 0 to 100, from (references, text)."""

    def computed(parts: Sequence[Part]) -> float:
        import sacrebleu

        references = [_listed(part[0]) for part in parts]
        texts = [_listed(part[1])[0] for part in parts]
        # sacrebleu wants the first reference of every text, then the second of every text, ...
        by_place = [list(column) for column in zip(*references, strict=True)]
        return float(getattr(sacrebleu, score)(texts, by_place, **options).score)

    return computed


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


AGGREGATIONS: Mapping[str, Callable[[Sequence[Part]], float]] = {
    "mean": _mean,
    "nanmean": _nanmean,
    "median": _median,
    "perplexity": _perplexity,
    "weighted_perplexity": _weighted_perplexity,
    "bits_per_byte": _bits_per_byte,
    "f1_score": _f1,
    "matthews_corrcoef": _matthews,
    "brier_score": _brier,
    "bleu": _translation("corpus_bleu"),
    "chrf": _translation("corpus_chrf"),
    "chrfpp": _translation("corpus_chrf", word_order=2),
    "ter": _translation("corpus_ter"),
    "agg_inst_level_acc": _flat_mean,
}
"""By the name of lm-eval's function (the last is IFEval's); ours need no item to be of a certain type."""
