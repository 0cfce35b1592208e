"""The commands: parse, call, print. What they do is in the modules they call."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from typer.exceptions import Abort, TyperException

from harness.commands import options
from harness.commands.bench import bench, tasks
from harness.commands.data import data
from harness.commands.finetune import finetune
from harness.commands.flag_sets import with_answer_flags
from harness.commands.judge import judge
from harness.commands.mmlu import mmlu
from harness.commands.plan import plan
from harness.commands.run import run as run_folders
from harness.commands.show import show as show_items
from harness.commands.showing import DONE, json_of, say_hidden, show
from harness.commands.validate import validate
from harness.comparing.gates import gates
from harness.errors import HarnessError
from harness.mistakes import in_words
from harness.respond import AnswerSettings
from harness.screen import Screen

WITH_FAILURES, WRONG_USE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    help="Which of my checkpoints is really better, at what, and how sure can I be?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit code. A mistake of the user is one line on standard error."""
    from benchmarks.errors import BenchmarkError
    from finetune.errors import FinetuneError
    from judges.base import JudgeError

    mistakes = (HarnessError, FinetuneError, JudgeError, BenchmarkError, TyperException, ValidationError, OSError)
    try:
        code = app(list(arguments) or ["--help"], prog_name="ift-eval", standalone_mode=False)
    except mistakes as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        return WRONG_USE
    except (KeyboardInterrupt, Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:  # what Typer itself makes of Ctrl-C
        print("stopped; the same command goes on where it was", file=sys.stderr)
    return code if isinstance(code, int) else DONE


@app.callback()
def _program(version: options.Version = False) -> None:
    """Which of my checkpoints is really better, at what, and how sure can I be?"""


@app.command()
def demo(
    run_folder: options.RunFolder = Path("runs/demo"),
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
) -> int:
    """The whole loop on embedded data: offline, no key, no GPU, about a minute."""
    from harness.demo import demonstrate

    demonstrate(run_folder, Screen(json=json, quiet=quiet), full=full)
    return DONE


app.command()(finetune)
app.command()(data)


@app.command()
@with_answer_flags
def respond(
    checkpoints: options.Checkpoints,
    answers: AnswerSettings,
    data: options.Data = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    limit: options.Limit = None,
    fresh: options.Fresh = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> int:
    """Collect answers of checkpoints to a test set."""
    from harness.checkpoints import resolve
    from harness.stages import collect, data_sets, missing_answers
    from harness.store import Run

    screen, kept = Screen(json=json, quiet=quiet), Run(run_folder)
    targets = resolve(checkpoints)
    say_hidden(targets, screen)
    asked = data_sets(kept, targets, data, limit=limit, validation=False)
    answered = collect(kept, targets, asked, answers, screen, fresh=fresh)
    failures = [missing_answers(kept, one) for one in answered]
    for one, missing in zip(answered, failures, strict=True):
        path = kept.folder / "responses" / one.data.label / f"{one.checkpoint.slug}.jsonl"
        total = len(one.evaluation.records)
        there = f"{total - len(missing)} of {total}" if missing else f"{total}"
        screen.show(f"{one.checkpoint.name}: {there} items answered, {path}")
        if missing:
            screen.warn(f"{one.checkpoint.name}: {missing[0]}; the same command asks again for what has no answer")
    screen.print_json(json_of([one.evaluation.model_dump() for one in answered]))
    return WITH_FAILURES if any(failures) else DONE


app.command()(judge)
app.command()(mmlu)
app.command()(bench)
app.command()(tasks)
app.command("run")(run_folders)
app.command("show")(show_items)
app.command()(plan)
app.command()(validate)


@app.command()
def compare(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="All recorded, or these.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="What the others are compared with; default: the base.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of a data set; default: the newest.")] = None,
    judges: Annotated[
        list[str] | None, typer.Option("--judge", help="Name of a judge; default: the newest. May be repeated.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(min=0.000001, help="Differences within ±M points count as none: same within M.")
    ] = None,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit code 1 if a checkpoint is worse than the baseline anywhere.")
    ] = False,
    fail_under: Annotated[
        float | None, typer.Option(metavar="X", help="Exit code 1 if the first table has a checkpoint below X.")
    ] = None,
    evaluation: Annotated[list[str] | None, typer.Option("--eval", help="Id of an evaluation to take.")] = None,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """Everything recorded, side by side: which checkpoint to ship, at what it is better, how sure."""
    from harness.compare import compare as compare_recorded
    from harness.store import Run

    datasets = {dataset} if dataset else set()
    report = compare_recorded(
        Run(run_folder),
        wanted=[*(checkpoints or [])],
        baseline=baseline,
        datasets=datasets,
        judges=[*(judges or [])],
        chosen=[*(evaluation or [])],
        margin=margin,
    )
    screen = Screen(json=json, quiet=quiet)
    for name, leaked in report.leaked.items():
        if leaked:
            screen.warn(f"{leaked} test items are among the entries {name} was trained on")
    show(report, screen, full=full)
    failures = [*gates(report, if_worse=fail_if_worse, under=fail_under)]
    for line in failures:
        screen.warn(line)
    return WITH_FAILURES if failures else DONE


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="Folder or hub name.")],
    out: Annotated[Path, typer.Argument(metavar="PATH", help="Folder (hf) or file (gguf) to write.")],
    to: Annotated[Literal["hf", "gguf"], typer.Option(help="What to write.")],
    style: options.Style = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16; gguf also q8_0.")] = "float32",
    overwrite: Annotated[bool, typer.Option(help="Replace what is there.")] = False,
    quiet: options.Quiet = False,
) -> int:
    """Write a checkpoint for transformers (hf), or for llama.cpp and Ollama (gguf: prints its Modelfile)."""
    from harness.exporting import export_to_gguf, export_to_hf

    screen = Screen(quiet=quiet)
    (export_to_hf if to == "hf" else export_to_gguf)(
        checkpoint, out, screen, style=style, dtype=dtype, overwrite=overwrite
    )
    return DONE
