"""`ift-eval mmlu`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.presets import MMLU_SHOTS
from harness import options
from harness.screen import Screen
from harness.showing import run_suites


def mmlu(
    checkpoints: options.Checkpoints,
    shots: Annotated[int, typer.Option(min=0, help="Examples in the prompt.")] = MMLU_SHOTS,
    subjects: Annotated[str | None, typer.Option(help="Comma-separated; all when not given.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with dev/ and test/ CSV files; else the hub.")] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    limit: options.Limit = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """Run MMLU, five-shot, with lm-eval's prompt."""
    from harness.benchmark import BenchmarkSettings
    from harness.checkpoints import resolve
    from harness.suites import mmlu_suite

    chosen = [s.strip() for s in subjects.split(",") if s.strip()] if subjects is not None else None
    suite = mmlu_suite(chosen, data)
    settings = BenchmarkSettings(shots=shots, limit=limit, dtype=dtype, device=device)
    screen = Screen(json=json, quiet=quiet)
    return run_suites(run_folder, resolve(checkpoints), [suite], settings, screen, fresh=fresh, full=full)
