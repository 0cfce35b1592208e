"""The whole loop on embedded data, by the same code as on real data."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from finetune.recipes import TrainConfig
from harness.benchmark import BenchmarkSettings
from harness.checkpoints import resolve
from harness.compare import compare
from harness.findings import Report
from harness.judging.named import named_judge
from harness.judging.stage import judge_all
from harness.pictures.report import picture
from harness.pictures.story import best_story, story_lines
from harness.respond import AnswerSettings
from harness.screen import Screen
from harness.stages import benchmark_all, collect, data_sets
from harness.store import Run
from harness.suites import quiz_suite
from harness.tuning import tune

# Chosen so that on two cores training takes half a minute and goes on past the point where it helps.
CONFIG = TrainConfig(epochs=5, batch_size=8, learning_rate=5e-4, patience=0)
ANSWERS = AnswerSettings(max_new_tokens=32)
SHOTS = 0  # what so small a model has learnt to read: one question at a time


def demonstrate(folder: Path, screen: Screen, *, full: bool = False) -> Report:
    """Fine-tune, answer, judge, take the quiz, compare; what was done before is not done again."""
    embedded = Path(str(files("finetune"))) / "data"
    run, out = Run(folder), folder / "checkpoints"
    screen.say("The model is a toy, the code is not: all of this runs the same on yours.")
    tune(base=str(embedded / "base"), data=embedded / "instructions.json", out=out, config=CONFIG, screen=screen)
    targets = resolve([f"base={embedded / 'base'}", str(out)])
    answered = collect(run, targets, data_sets(run, targets, None, limit=None), ANSWERS, screen)
    _, judge = named_judge("reference", concurrency=1)
    judge_all(run, answered, judge, screen)
    benchmark_all(run, targets, [quiz_suite()], BenchmarkSettings(shots=SHOTS), screen)
    report = compare(run)
    screen.show(picture(report, full=full, after=[*_story(run, report), *_next(folder)]))
    screen.print_json(report.model_dump_json(indent=1))
    return report


def _story(run: Run, report: Report) -> Iterator[RenderableType]:
    story = best_story(run, report)
    if story is not None:
        yield Group("", *story_lines(story))


def _next(folder: Path) -> Iterator[RenderableType]:
    yield ""
    for line in (
        f"next: ift-eval compare --run {folder} --full",
        f"      ift-eval report --run {folder}",
        f"      ift-eval judge {folder}/checkpoints --judge ollama:llama3.2",
        "      ift-eval finetune --base gpt2 --data YOUR.json --out checkpoints/mine",
        "      ift-eval judge base=gpt2 checkpoints/mine --judge ollama:llama3.2",
    ):
        yield Text(f" {line}")
