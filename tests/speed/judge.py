"""Judgments a second against an endpoint that takes 50 ms: ours with everything, and the bare official client."""

from collections.abc import Iterator
from statistics import median_low
from typing import Any

from tests.speed.side import run_side
from tests.speed.slow_server import slow_server

ENTRIES, CONCURRENCY = 2000, 64


def measure(rounds: int = 1) -> Iterator[dict[str, Any]]:
    """Two rows: against the official client, and against ourselves on a quarter of the entries (linear: 1)."""
    with slow_server() as url:

        def seconds(side: str, entries: int) -> float:
            told = run_side("judge_side", side, url, entries=entries, concurrency=CONCURRENCY)
            return float(told["seconds"])

        in_turn = [(seconds("ours", ENTRIES), seconds("openai", ENTRIES)) for _ in range(rounds)]
        mine, theirs = (median_low(side) for side in zip(*in_turn, strict=True))
        few = seconds("ours", ENTRIES // 4)
    row = {"dtype": "", "flops": None, "note": f"{CONCURRENCY} at once, each answered after 50 ms"}
    yield row | {
        "work": f"judge, {ENTRIES} answers (judgments/s)",
        "ours": ENTRIES / mine,
        "peer": ENTRIES / theirs,
        "ratio": theirs / mine,
    }
    yield row | {
        "work": f"judge, {ENTRIES} answers against {ENTRIES // 4} (judgments/s)",
        "ours": ENTRIES / mine,
        "peer": ENTRIES / 4 / few,
        "ratio": 4 * few / mine,
    }
