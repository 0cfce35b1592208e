"""Summaries, comparisons and the pick: what the records say about checkpoints side by side."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from harness.cards.card import JudgeCard
from harness.cards.recorded import card_for, keep_card, panel_for
from harness.comparing.agreement import agreements
from harness.comparing.baseline import baseline_in, usual_baseline
from harness.comparing.groups import breakdown
from harness.comparing.scores import EXPECTED, Family
from harness.comparing.select import families
from harness.comparing.side_by_side import FEW, LEVEL, adjusted, comparison_of, summarise
from harness.comparing.trajectory import trajectory
from harness.errors import HarnessError
from harness.findings import JUDGED, Losses, Pick, Report, Row, Table
from harness.naming import as_recorded, choose_checkpoints, display_names
from harness.records import CheckpointRecord
from harness.store import Run, RunFile

TURNED = 1.005  # a loss that ends so much above its lowest has risen; less is noise between two steps


def compare(
    run: Run,
    *,
    wanted: Sequence[str] = (),
    baseline: str | None = None,
    datasets: Collection[str] = (),
    judges: Sequence[str] = (),
    chosen: Sequence[str] = (),
    only: Callable[[Family], bool] = lambda family: True,
    margin: float | None = None,
    look: bool = True,
) -> Report:
    """Set side by side what a run has recorded, and count the look at its test set.

    Args:
        run: The run.
        wanted: Names of checkpoints; all when empty.
        baseline: Name of the one the others are compared with; what they were trained from when None.
        datasets: Beginnings of data sets' labels; the newest when empty.
        judges: Beginnings of judges' names; the newest when empty. Several are also taken together.
        chosen: Ids of evaluations to take in place of the newest.
        only: Which metrics to show.
        margin: Differences within it count as none, in points of a table.
        look: Count this as a look at the test set's numbers.

    Raises:
        HarnessError: If nothing is recorded, a name is unknown, or evaluations do not fit together.
    """
    recorded = run.read()
    versus = baseline_in(recorded, baseline) if baseline and recorded.checkpoints else None
    names_wanted = [name for text in wanted for name in as_recorded(recorded, text)]
    if versus and wanted:
        names_wanted.append(versus.slug)
    checkpoints = choose_checkpoints(recorded, names_wanted)
    shown, left_out = families(run, recorded, checkpoints, datasets=datasets, judges=judges, chosen=chosen)
    shown = [family for family in shown if only(family)]
    if not shown:
        raise HarnessError(f"{run.folder} holds nothing to compare yet; `ift-eval judge` or `ift-eval mmlu` first")
    names = _anchors(shown) | display_names(checkpoints)
    base = versus or usual_baseline(checkpoints)
    tables = [_table(family, names, base, margin) for family in shown]
    report = Report(run=str(run.folder), baseline=names[base.slug], tables=tables, left_out=left_out)
    judged = next((f for f in shown if f.kind in JUDGED and f.role == "test"), None)
    if judged:
        same = (judged.name, judged.kind, "validation")
        validation = next((f for f in shown if (f.name, f.kind, f.role) == same), None)
        report.pick = _pick(judged, validation, names, base)
        report.baseline = next(table.baseline for table in tables if table.name == judged.name)
        trained = [s for s in judged.scores if s.checkpoint.remembers and not s.anchor]  # of others nobody knows
        report.leaked = {names[s.checkpoint.slug]: len(s.evaluation.leaked) for s in trained}
        own = [s for s in judged.scores if not s.anchor and s.evaluation.notes]
        report.notes = {names[s.checkpoint.slug]: s.evaluation.notes for s in own}
        report.looks, counted = _count_look(run, recorded, judged.dataset) if look else (0, True)
        report.cards = [*_cards(run, shown, names, recorded)]
        report.panel = panel_for(shown, names)
        if not counted:
            report.notes[str(run.folder)] = ["cannot be written, so this look at the test set is not counted"]
    report.losses = _losses(checkpoints, names)
    report.breakdowns = [made for family in shown if (made := breakdown(family, names, base))]
    report.agreements = agreements(run, shown, names)
    report.trajectory = trajectory(checkpoints, tables, names, base)
    return report


def _anchors(shown: Sequence[Family]) -> dict[str, str]:
    """Names of those that were compared with and are no checkpoints of the run, such as the expected answers."""
    return {s.checkpoint.slug: s.checkpoint.name for family in shown for s in family.scores if s.anchor}


def _count_look(run: Run, recorded: RunFile, dataset: str) -> tuple[int, bool]:
    """How often the test set has been looked at, and whether this look could be counted.

    A run that cannot be written is read all the same.
    """
    looks = recorded.looks.get(dataset, 0) + 1
    try:
        with run.changing() as changed:
            looks = changed.looks[dataset] = changed.looks.get(dataset, 0) + 1
    except HarnessError:
        return looks, False
    return looks, True


def _cards(run: Run, shown: Sequence[Family], names: Mapping[str, str], recorded: RunFile) -> Iterator[JudgeCard]:
    """Of each judge on the test items; kept in the run, where it can be written."""
    for family in shown:
        if family.kind in JUDGED and family.role == "test":
            card = card_for(run, family, names, recorded.checkpoints)
            with suppress(HarnessError):
                keep_card(run, family, card)
            yield card


def _table(family: Family, names: Mapping[str, str], base: CheckpointRecord, margin: float | None) -> Table:
    rows = [Row(summary=summarise(scores, family, names[scores.checkpoint.slug])) for scores in family.scores]
    usual = next((s for s in family.scores if s.checkpoint.slug == base.slug), family.scores[0])
    baseline = next((s for s in family.scores if s.anchor), usual)
    others = [(row, s) for row, s in zip(rows, family.scores, strict=True) if s is not baseline]
    made = [comparison_of(scores, baseline, family, names, margin=margin) for _, scores in others]
    for (row, _), comparison in zip(others, adjusted(made, family), strict=True):
        row.comparison = comparison
    chances = [r.summary for r in rows if r.summary.chance is not None and r.summary.low is not None]
    at_chance = all(s.low <= s.chance <= s.high for s in chances) if chances else None  # type: ignore[operator]
    return Table(
        name=family.name,
        kind=family.kind,
        dataset=family.dataset,
        role=family.role,
        metric=family.metric,
        baseline=names[baseline.checkpoint.slug],
        rows=rows,
        at_chance=at_chance,
        others=_others(family, names),
    )


def _others(family: Family, names: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The family's other metrics, each by checkpoint."""
    metrics = dict.fromkeys(metric for s in family.scores for metric in s.others)
    return {m: {names[s.checkpoint.slug]: s.others[m] for s in family.scores if m in s.others} for m in metrics}


def _pick(judged: Family, validation: Family | None, names: Mapping[str, str], base: CheckpointRecord) -> Pick | None:
    """The best on the validation items if all have been judged on them, else on the test items."""
    candidates = [s for s in judged.scores if s.checkpoint.slug != EXPECTED]
    if len(candidates) < FEW:
        return None
    judged = replace(judged, scores=candidates)
    on_validation = {s.checkpoint.slug: s for s in validation.scores if s.values} if validation else {}
    all_validated = all(s.checkpoint.slug in on_validation for s in judged.scores)
    deciding = [on_validation[s.checkpoint.slug] for s in judged.scores] if all_validated else judged.scores
    scored = [s for s in deciding if s.values]
    # On items that all have, or a checkpoint whose hardest items went unscored would win.
    shared = set.intersection(*(set(s.values) for s in scored)) if scored else set()
    if not shared:
        return None
    best = max(scored, key=lambda s: math.fsum(s.values[item] for item in shared))  # the earliest of equals
    by_slug = {s.checkpoint.slug: s for s in judged.scores}
    picked = by_slug[best.checkpoint.slug]
    others = [s for s in judged.scores if s is not picked]
    against = [comparison_of(other, picked, judged, names) for other in others]
    told = [(names[o.checkpoint.slug], c) for o, c in zip(others, adjusted(against, judged), strict=True)]
    baseline = next((s for s in judged.scores if s.anchor), by_slug.get(base.slug))
    against_base = None
    if baseline is not None and baseline is not picked:
        versus = [comparison_of(s, baseline, judged, names) for s in judged.scores if s is not baseline]
        against_base = next(
            (c for c in adjusted(versus, judged) if c and c.checkpoint == names[picked.checkpoint.slug]), None
        )
    return Pick(
        name=names[picked.checkpoint.slug],
        picked_on="validation" if all_validated else "test",
        against_base=against_base,
        undecided=[name for name, c in told if c is None or c.p_adjusted >= LEVEL],
        n_deciding=len(shared),
        contradicted=[name for name, c in told if c is not None and c.verdict == "better"],
    )


def _losses(checkpoints: Sequence[CheckpointRecord], names: Mapping[str, str]) -> Losses | None:
    """Validation losses from the longest curve that the checkpoints carry."""
    longest = max((c.validation_curve for c in checkpoints), key=len, default=[])
    if not longest:
        return None
    base = next(c.base_fingerprint for c in checkpoints if c.validation_curve == longest)
    own = dict(longest)
    at: dict[str, float | None] = {}
    for checkpoint in checkpoints:
        step = 0 if checkpoint.fingerprint == base else checkpoint.step
        curve = checkpoint.validation_curve
        same_run = step == 0 or (bool(curve) and curve == longest[: len(curve)])
        at[names[checkpoint.slug]] = own.get(step) if step is not None and same_run else None
    lowest, least = min(longest, key=lambda point: point[1])
    last, at_the_end = longest[-1]
    return Losses(at=at, turned=lowest if at_the_end > TURNED * least else None, steps=last)
