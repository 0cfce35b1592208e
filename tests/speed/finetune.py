"""Real tokens a second in fine-tuning: TRL's SFTTrainer and ours, on the same entries in turn."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from tests.speed.model import parameters

BATCH = 8


def measure(
    folder: Path, dtype: str, *, data: Path | None, steps: int, device: str, threads: int
) -> Iterator[dict[str, Any]]:
    """Two rows: batches of eight against the peer's padded ones, and as many tokens as in its packed rows.

    Each side runs in a process of its own, so that its peak memory (resident, or the GPU's) is its own. The
    first step, in which both warm up, does not count.
    """
    entries = data or Path(str(files("finetune"))) / "data" / "instructions.json"

    def side(name: str, batch_size: int, *more: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.speed.finetune_side", name, str(folder), str(entries), *more]
        flags = {"steps": steps, "batch-size": batch_size, "dtype": dtype, "device": device, "threads": threads}
        command += [part for flag, value in flags.items() for part in (f"--{flag}", str(value))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    mine = side("ours", BATCH)
    yield _row("padded", f"batch {BATCH}", dtype, folder, mine, side("trl", BATCH))
    theirs = side("trl", 1, "--packing")
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
