"""Whether a checkpoint chooses the same by log-likelihood and when it writes its choice."""

from collections.abc import Mapping, Sequence

from harness.comparing.scores import Family, Scores
from harness.findings import Agreement
from harness.records import Outcome
from harness.stats.intervals import wilson_interval
from harness.store import Run

WRITTEN = "_generated"  # behind the name of a suite whose choices were written


def agreements(run: Run, families: Sequence[Family], names: Mapping[str, str]) -> list[Agreement]:
    """For every benchmark shown both ways, each checkpoint's agreement with itself; `names`: by slug."""
    by_name = {family.name: family for family in families if family.kind == "benchmark"}
    found = []
    for name, family in by_name.items():
        written = by_name.get(f"{name}{WRITTEN}")
        if written is not None and _digest(family) == _digest(written):
            theirs = {scores.checkpoint.slug: scores for scores in written.scores}
            both = [(s, theirs[s.checkpoint.slug]) for s in family.scores if s.checkpoint.slug in theirs]
            found += [_agreement(run, name, one, other, names[one.checkpoint.slug]) for one, other in both]
    return [agreement for agreement in found if agreement is not None]


def _digest(family: Family) -> str:
    return family.dataset.rpartition("-")[2]


def _agreement(run: Run, name: str, compared: Scores, wrote: Scores, checkpoint: str) -> Agreement | None:
    by_likelihood, written = _outcomes(run, compared), _outcomes(run, wrote)
    # Elsewhere than in MMLU the choices are texts in the one and letters in the other.
    shared = [item for item, one in by_likelihood.items() if one.choices and item in written]
    shared = [item for item in shared if by_likelihood[item].choices == written[item].choices]
    if not shared:
        return None
    same = sum(by_likelihood[item].prediction == written[item].prediction for item in shared)
    interval = wilson_interval(same, len(shared))
    return Agreement(
        name=name,
        checkpoint=checkpoint,
        n=len(shared),
        same=same,
        low=100 * interval.low,
        high=100 * interval.high,
        by_likelihood=_accuracy(by_likelihood, shared),
        written=_accuracy(written, shared),
    )


def _outcomes(run: Run, scores: Scores) -> dict[str, Outcome]:
    evaluation = scores.evaluation
    task = evaluation.dataset.rpartition("-")[0]
    recorded = run.records(Outcome, "outcomes", task, evaluation.checkpoint).read()
    return {item: recorded[key] for item, (key,) in evaluation.records.items() if key in recorded}


def _accuracy(outcomes: Mapping[str, Outcome], items: Sequence[str]) -> float:
    return 100 * sum(outcomes[item].metrics.get("acc", 0.0) for item in items) / len(items)
