"""`ift-eval mmlu`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.presets import MMLU_SHOTS
from harness.benchmark import BenchmarkSettings, How
from harness.commands import options
from harness.commands.flag_sets import with_measure_flags
from harness.commands.showing import run_suites
from harness.errors import HarnessError
from harness.screen import Screen

Both = Literal["loglikelihood", "generate", "both"]


@with_measure_flags
def mmlu(
    checkpoints: options.Checkpoints,
    measuring: BenchmarkSettings,
    shots: Annotated[int, typer.Option(min=0, help="Examples in the prompt.")] = MMLU_SHOTS,
    subjects: Annotated[
        str | None,
        typer.Option(help="Comma-separated, or groups: stem, humanities, social_sciences, other; default: all."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder: the original CSV files, the hub's layout, or a hub cache; default: the hub."),
    ] = None,
    how: Annotated[
        Both | None,
        typer.Option(help="Compare log-likelihoods, have the choice written, or both; default: what CKPT can."),
    ] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    lm_eval_json: options.LmEvalJson = None,
    config: options.Config = None,
) -> int:
    """Run MMLU, five-shot, with lm-eval's prompt."""
    from harness.checkpoints import resolve
    from harness.suites import mmlu_suite

    if how == "both" and lm_eval_json:
        raise HarnessError("--how both makes two results and --lm-eval-json holds one; run them one after the other")
    screen = Screen(json=json, quiet=quiet)
    chosen = [s.strip() for s in subjects.split(",") if s.strip()] if subjects is not None else None
    suite = mmlu_suite(chosen, data)
    ways: tuple[How | None, ...] = ("loglikelihood", "generate") if how == "both" else (how,)
    first, *more = [measuring.model_copy(update={"shots": shots, "how": way}) for way in ways]
    return run_suites(
        run_folder,
        resolve(checkpoints),
        [suite],
        first,
        screen,
        fresh=fresh,
        full=full,
        lm_eval_json=lm_eval_json,
        more=more,
    )
