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
from harness.commands.compare import compare
from harness.commands.data import data
from harness.commands.finetune import finetune
from harness.commands.flag_sets import with_answer_flags
from harness.commands.judge import judge
from harness.commands.mmlu import mmlu
from harness.commands.overlap import overlap
from harness.commands.plan import plan
from harness.commands.report import report
from harness.commands.review import review
from harness.commands.run import run as run_folders
from harness.commands.show import show as show_items
from harness.commands.showing import DONE, WITH_FAILURES, json_of, say_hidden
from harness.commands.validate import validate
from harness.errors import HarnessError
from harness.mistakes import in_words
from harness.respond import AnswerSettings
from harness.screen import Screen

WRONG_USE, INTERRUPTED = 2, 130

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
app.command()(review)
app.command()(report)
app.command()(plan)
app.command()(validate)
app.command()(overlap)


app.command()(compare)


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
