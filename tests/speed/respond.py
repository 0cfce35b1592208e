"""Greedy new tokens a second: transformers' static batches and our decoding, on the same prompts in turn."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median_low
from typing import Any

from tests.speed.model import parameters
from tests.speed.side import run_side

BATCH, FIXED, NEW, MIXED = 64, 64, 64, 110
SIDES = "ours", "hf"


def measure(
    folder: Path, dtype: str, *, data: Path | None, first: int, device: str, threads: int, rounds: int
) -> Iterator[dict[str, Any]]:
    """Two rows: answers of one length, and answers as long as the entries' own; each side's median round."""
    entries = data or Path(str(files("finetune"))) / "data" / "instructions.json"
    flags = {"first": first, "batch": BATCH, "dtype": dtype, "device": device, "threads": threads}
    for prompts, new in ((FIXED, NEW), (MIXED, None)):
        in_turn = [
            [run_side("respond_side", side, folder, entries, prompts=prompts, new=new, **flags) for side in SIDES]
            for _ in range(rounds)
        ]
        mine, theirs = (_median(side) for side in zip(*in_turn, strict=True))
        tokens = sum(map(len, mine["answers"]))
        differ = sum(one != other for one, other in zip(mine["answers"], theirs["answers"], strict=True))
        memory = mine["peak"] / theirs["peak"]
        yield {
            "work": f"respond, {prompts} prompts, {f'{new} new tokens' if new else 'lengths of their own'} (tokens/s)",
            "dtype": dtype,
            "ours": tokens / mine["seconds"],
            "peer": tokens / theirs["seconds"],
            "ratio": theirs["seconds"] / mine["seconds"],
            "flops": 2 * parameters(folder) * (tokens + mine["read"]) / mine["seconds"],
            "memory": {"ours": mine["peak"], "peer": theirs["peak"], "ratio": memory},
            "note": f"{differ} answers differ; memory {memory:.2f}x",
        }


def _median(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    middle = median_low(each["seconds"] for each in rounds)
    return next(each for each in rounds if each["seconds"] == middle)
