"""A run's items looked for in training files that a user names."""

from collections.abc import Sequence

from harness.comparing.scores import Family
from harness.comparing.select import families
from harness.errors import HarnessError, unknown_name
from harness.naming import as_recorded, choose_checkpoints, display_names
from harness.overlap.findings import Overlap
from harness.overlap.kept import keep
from harness.overlap.known import overlap_of
from harness.overlap.search import THRESHOLD, N, search
from harness.overlap.sought import items_in
from harness.overlap.training import Entries
from harness.records import CheckpointRecord
from harness.store import Run, RunFile


def overlaps_in(
    run: Run,
    sources: Sequence[str],
    *,
    wanted: Sequence[str] = (),
    dataset: str | None = None,
    n: int = N,
    threshold: float = THRESHOLD,
    progress: Entries = lambda done, total: None,
) -> list[Overlap]:
    """Look for the test and benchmark items of a run in training files, and keep what is found in the run.

    Args:
        run: The run.
        sources: Training files, taken as one training: see `harness.overlap.training.training_entries`.
        wanted: Names of checkpoints; all when empty.
        dataset: Beginning of a data set's label; all that are recorded when None.
        n: Words of an n-gram.
        threshold: Share of an item's words in n-grams in common from which on it counts as near.
        progress: Hears how many training entries were read, of about how many.

    Raises:
        HarnessError: If nothing is recorded, a name is unknown, a number makes no sense, or a file holds no entries.
        FinetuneError: If a file cannot be read, or the run cannot be written.
    """
    recorded = run.read()
    checkpoints = choose_checkpoints(recorded, [name for text in wanted for name in as_recorded(recorded, text)])
    by_data = {label: _tables(run, recorded, checkpoints, label) for label in _labels(recorded, dataset)}
    items = {label: items_in(run, tables) for label, tables in by_data.items() if tables}
    if not items:
        raise HarnessError(f"{', '.join(wanted)}: {run.folder} has no scores of it; `ift-eval judge` or `mmlu` first")
    searches = search(items, sources, n=n, threshold=threshold, progress=progress)
    found = []
    for made in searches:
        keep(run, made)
        tables = by_data[made.dataset]
        anchors = {s.checkpoint.slug: s.checkpoint.name for family in tables for s in family.scores}
        names = anchors | display_names(checkpoints)
        found += [overlap_of(made, family, names) for family in tables]
    return found


def _labels(recorded: RunFile, dataset: str | None) -> list[str]:
    """Labels of what was scored on test items, judged ones first.

    Raises:
        HarnessError: If there are none, or none begins so.
    """
    scored = [e for e in recorded.evaluations if e.stage != "respond" and e.role == "test"]
    labels = list(dict.fromkeys(e.dataset for e in sorted(scored, key=lambda e: e.stage != "judge")))
    if not labels:
        raise HarnessError("the run holds no items to look for yet; `ift-eval judge` or `ift-eval mmlu` first")
    named = [label for label in labels if label.startswith(dataset or "")]
    if not named:
        raise unknown_name("data set in this run", dataset or "", {label.rpartition("-")[0] for label in labels})
    exact = [label for label in named if label.rpartition("-")[0] == dataset]
    return exact or named


def _tables(run: Run, recorded: RunFile, checkpoints: Sequence[CheckpointRecord], label: str) -> list[Family]:
    """The tables on one data set alone, so that nothing else is read."""
    own = [e for e in recorded.evaluations if e.dataset == label and e.role == "test"]
    shown, _ = families(run, recorded.model_copy(update={"evaluations": own}), checkpoints)
    return shown
