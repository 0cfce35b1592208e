"""Real tokens a second in fine-tuning: TRL's SFTTrainer and ours, on the same entries in turn."""

import statistics
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from tests.speed.model import parameters
from tests.speed.side import run_side

BATCH = 8


def measure(
    folder: Path, dtype: str, *, data: Path | None, steps: int, device: str, threads: int
) -> Iterator[dict[str, Any]]:
    """Two rows: batches of eight against the peer's padded ones, and as many tokens as in its packed rows.

    Each side runs in a process of its own, so that its peak memory (resident, or the GPU's) is its own. The
    first step, in which both warm up, does not count.
    """
    entries = data or Path(str(files("finetune"))) / "data" / "instructions.json"

    def side(name: str, batch_size: int, *, packing: bool = False) -> dict[str, Any]:
        flags = {"steps": steps, "batch_size": batch_size, "dtype": dtype, "device": device, "threads": threads}
        return run_side("finetune_side", name, folder, entries, packing=packing, **flags)

    mine = side("ours", BATCH)
    yield _row("padded", f"batch {BATCH}", dtype, folder, mine, side("trl", BATCH))
    theirs = side("trl", 1, packing=True)
    per_entry = statistics.mean(mine["tokens"]) / BATCH
    batch_size = round(statistics.mean(theirs["tokens"]) / per_entry)
    yield _row("packed", f"{batch_size} entries", dtype, folder, side("ours", batch_size), theirs)


def _row(how: str, work: str, dtype: str, folder: Path, mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    speeds = [_speed(side) for side in (mine, theirs)]
    memory = mine["peak"] / theirs["peak"]
    last, peer_last = mine["losses"][-1], theirs["losses"][-1]
    losses = f"loss {last:.4f} and {peer_last:.4f}"
    # The blocks for every real token, the head where something is learnt: what has to be computed at the least.
    return {
        "work": f"finetune, {work}, peer {how} (tokens/s)",
        "dtype": dtype,
        "ours": speeds[0],
        "peer": speeds[1],
        "ratio": speeds[0] / speeds[1],
        "flops": 6 * parameters(folder) * speeds[0],
        "losses": {"ours": mine["losses"], "peer": theirs["losses"]},
        "memory": {"ours": mine["peak"], "peer": theirs["peak"], "ratio": memory},
        "note": "; ".join([f"memory {memory:.2f}x", *([losses] if how == "padded" else []), *mine["notes"]]),
    }


def _speed(side: dict[str, Any]) -> float:
    """Tokens a second over all steps but the first, by the median step, since machines are shared."""
    pairs = zip(side["tokens"][1:], side["seconds"][1:], strict=True)
    return float(statistics.median(tokens / seconds for tokens, seconds in pairs))
