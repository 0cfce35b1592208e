"""A comparison as a user asked for it."""

from collections.abc import Callable, Sequence

from harness.compare import compare
from harness.comparing.scores import Family
from harness.comparing.settings import ComparisonSettings
from harness.comparing.terms import Terms
from harness.errors import HarnessError
from harness.findings import Report
from harness.imported.families import imported_families
from harness.imported.fields import ResultFields
from harness.store import Run


def compare_as_asked(
    run: Run,
    checkpoints: Sequence[str],
    asked: ComparisonSettings,
    fields: ResultFields | None = None,
    *,
    draws: int = 0,
    look: bool = True,
    seen: Callable[[Sequence[Family]], object] = lambda families: None,
) -> Report:
    """Read what was made elsewhere, and compare it with what the run holds.

    Args:
        run: The run.
        checkpoints: Names; all when empty.
        asked: What is compared, and how.
        fields: Of results made elsewhere.
        draws: Of the bootstrap; none at 0.
        look: As `compare`.
        seen: As `compare`.

    Raises:
        HarnessError: As `compare` and `imported_families`.
        FinetuneError: If a file of results is not what its ending says.
    """
    if fields not in (None, ResultFields()) and not asked.results:
        raise HarnessError("flags that say what is in results made elsewhere want these: --results [NAME=]PATH")
    metrics = [name.strip() for text in asked.metrics or [] for name in text.split(",") if name.strip()]
    known = run.read().checkpoints.values()
    return compare(
        run,
        wanted=checkpoints,
        baseline=asked.baseline,
        datasets={asked.dataset} if asked.dataset else set(),
        judges=asked.judges or [],
        chosen=asked.evaluation or [],
        metrics=metrics,
        by=asked.by,
        cluster=asked.cluster,
        groups=asked.group or [],
        imported=imported_families(asked.results or [], fields, known=known, metrics=metrics),
        all_pairs=asked.all_pairs,
        terms=Terms(asked.margin, draws, asked.allow_missing),
        look=look,
        seen=seen,
    )
