"""`compare --margin`, `--fail-if-worse`, `--fail-under`: what counts as the same, and exit codes for CI."""

from pathlib import Path

import pytest

from harness.compare import compare
from harness.comparing.terms import Terms
from harness.store import Run
from tests.command_line import in_process
from tests.recorded import judged

BASE = [50.0 + n % 5 for n in range(40)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    judged(run, "base", BASE)
    judged(run, "alike", [value + (0.5 if n % 2 else -0.5) for n, value in enumerate(BASE)])
    judged(run, "worse", [value - 10 - n % 3 for n, value in enumerate(BASE)])
    judged(run, "noisy", [value + (30 if n % 2 else -29) for n, value in enumerate(BASE)])
    return run


def verdicts(run: Run, margin: float | None) -> dict[str, str]:
    (table,) = compare(run, terms=Terms(margin=margin)).tables
    return {c.checkpoint: c.verdict for row in table.rows if (c := row.comparison)}


def test_same_is_said_only_with_a_margin_and_only_where_it_is_shown(run: Run) -> None:
    assert verdicts(run, None) == {"alike": "can't tell", "worse": "worse", "noisy": "can't tell"}
    assert verdicts(run, 1.0) == {"alike": "same within 1", "worse": "worse", "noisy": "can't tell"}
    assert verdicts(run, 0.1) == {"alike": "can't tell", "worse": "worse", "noisy": "can't tell"}


def test_the_margin_is_explained(run: Run) -> None:
    said = in_process("compare", "--run", run.folder, "--margin", "2.5")
    assert said.code == 0
    assert "same within 2.5" in said.out
    assert "the 90 % interval of the difference lies inside ±2.5" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--fail-if-worse",), 1, "worse is worse than base on judge ann+kind-v1 (-11."),
        (("alike", "--fail-if-worse"), 0, ""),
        (("--fail-under", 45), 1, "--fail-under 45: worse has 41.0 on judge ann+kind-v1"),
        (("--fail-under", 40), 0, ""),
        (("alike", "--fail-under", 60), 1, "alike has 52.0"),
    ],
)
def test_gates(run: Run, words: tuple[str | int, ...], code: int, says: str) -> None:
    said = in_process("compare", *words, "--baseline", "base", "--run", run.folder)
    assert said.code == code
    assert any(says in line for line in said.warnings()) if says else said.warnings() == []
