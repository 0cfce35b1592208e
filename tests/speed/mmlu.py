"""Five-shot MMLU-format questions a second: lm-eval's own `hf` model and ours, on the same tasks in turn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.speed.model import parameters
from tests.speed.side import run_side


def measure(
    folder: Path, dtype: str, *, data: Path | None, subjects: str | None, limit: int, device: str, threads: int
) -> Iterator[dict[str, Any]]:
    """Each side once, in a process of its own; yields one row of the table."""
    flags = {"data": data, "subjects": subjects, "limit": limit, "dtype": dtype, "device": device, "threads": threads}
    mine, theirs = (run_side("mmlu_side", side, folder, **flags) for side in ("ours", "hf"))
    ours, peer = mine["scores"], theirs["scores"]
    n = len(ours)
    worst = max(abs(a - b) for key in ours for a, b in zip(ours[key], peer[key], strict=True))
    differ = sum(_best(ours[key]) != _best(peer[key]) for key in ours)
    memory = mine["peak"] / theirs["peak"]
    yield {
        "work": f"mmlu, {n} questions, 5-shot (questions/s)",
        "dtype": dtype,
        "ours": n / mine["seconds"],
        "peer": n / theirs["seconds"],
        "ratio": theirs["seconds"] / mine["seconds"],
        "flops": 2 * parameters(folder) * mine["computed"] / mine["seconds"],
        "memory": {"ours": mine["peak"], "peer": theirs["peak"], "ratio": memory},
        "note": f"{differ} predictions differ, log-likelihoods by at most {worst:.1e}; memory {memory:.2f}x; "
        f"{mine['computed']} tokens computed",
    }


def _best(loglikelihoods: list[float]) -> int:
    return max(range(len(loglikelihoods)), key=loglikelihoods.__getitem__)
