"""One side of a measure in a process of its own, so that its peak memory is its own."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def run_side(module: str, side: str, *arguments: str | Path, **flags: object) -> dict[str, Any]:
    """What a side printed: `python -m tests.speed.MODULE SIDE ARGUMENTS --flags`; None and False are no flags."""
    command = [sys.executable, "-m", f"tests.speed.{module}", side, *map(str, arguments)]
    for name, value in flags.items():
        if value not in (None, False):
            command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def peak_memory(device: str) -> int:
    """Bytes this process has had at most: resident, or on the GPU."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
