"""Ten checkpoints on 14,042 items side by side: the statistics against scipy's, and all of `compare` from the disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median_low
from typing import Any

from tests.speed.compare_side import CHECKPOINTS, ITEMS, PART, RESAMPLES
from tests.speed.side import run_side


def measure(rounds: int = 1) -> Iterator[dict[str, Any]]:
    """Three rows: statistics (45 pairs, 10,000 sign flips and draws), and `compare` of recorded runs of two kinds."""
    yield _row(
        "compare, statistics of 45 pairs (comparisons/s)",
        [
            (run_side("compare_side", "statistics-ours"), run_side("compare_side", "statistics-scipy"))
            for _ in range(rounds)
        ],
        count=45,
        note=f"; scipy's time from {PART} of {RESAMPLES} resamples of one pair",
    )
    for work in ("mmlu", "judge"):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            run_side("compare_side", "record", work, folder)
            turns = [
                tuple(run_side("compare_side", side, work, folder) for side in ("read-ours", "read-json"))
                for _ in range(rounds)
            ]
        what = f"compare, {CHECKPOINTS} x {ITEMS} {'outcomes' if work == 'mmlu' else 'verdicts'} on disk (records/s)"
        yield _row(what, turns, count=CHECKPOINTS * ITEMS, note="; peer: json.loads of the same lines, no more")


def _row(work: str, turns: list[Any], *, count: int, note: str) -> dict[str, Any]:
    """The median of each side; how often a second it does what is counted."""
    mine, theirs = (median_low(told["seconds"] for told in side) for side in zip(*turns, strict=True))
    memory = max(ours["peak"] for ours, _ in turns)
    return {
        "work": work,
        "dtype": "",
        "ours": count / mine,
        "peer": count / theirs,
        "ratio": theirs / mine,
        "flops": None,
        "seconds": mine,
        "memory": memory,
        "note": f"{mine:.1f} s, {memory / 2**30:.2f} GiB at most{note}",
    }
