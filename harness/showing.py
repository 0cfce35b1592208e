"""How commands end: the picture on the screen, JSON where it was asked for, the exit code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.findings import Report
from harness.screen import Screen
from harness.store import Run

if TYPE_CHECKING:
    from harness.benchmark import BenchmarkSettings, Suite
    from harness.checkpoints import Target

DONE = 0


def json_of(value: Any) -> str:
    """JSON as commands print it."""
    return json.dumps(value, ensure_ascii=False, indent=1)


def report_of(kept: Run, slugs: set[str], datasets: set[str], *, judge: str | None = None) -> Report:
    """What `compare` says of some checkpoints on some data."""
    from harness.compare import compare as compare_recorded

    return compare_recorded(
        kept, wanted=sorted(slugs), judge=judge, datasets=datasets, only=lambda family: family.dataset in datasets
    )


def show(report: Report, screen: Screen, *, full: bool) -> None:
    """The picture, or JSON."""
    from harness.report import picture

    screen.show(picture(report, full=full))
    screen.print_json(report.model_dump_json(indent=1))


def run_suites(
    run_folder: Path,
    targets: "Sequence[Target]",
    suites: "Sequence[Suite]",
    settings: "BenchmarkSettings",
    screen: Screen,
    *,
    fresh: bool,
    full: bool,
) -> int:
    """Run benchmarks on checkpoints and show them side by side; the exit code."""
    from harness.stages import benchmark_all

    kept = Run(run_folder)
    made = benchmark_all(kept, targets, suites, settings, screen, fresh=fresh)
    report = report_of(kept, {e.checkpoint for e in made}, {s.label for s in suites})
    show(report, screen, full=full)
    return DONE
