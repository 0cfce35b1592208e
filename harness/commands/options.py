"""Flags that several commands share, and where their values come from: flags over YAML over defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml

from harness.errors import HarnessError, unknown_name

DEFAULT_RUN = Path("runs/default")


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a YAML file the defaults of a command's flags.

    Raises:
        HarnessError: If the file is missing, no mapping, or names a flag that the command does not have.
    """
    if path is None or context.resilient_parsing:
        return path
    try:
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    except OSError as error:
        raise HarnessError(f"--config {path}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise HarnessError(f"--config {path} is not YAML: {error.problem}{place}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise HarnessError(f"--config {path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise HarnessError(f"--config {path}: wanted flag: value lines, found {type(values).__name__}")
    context.default_map = {**(context.default_map or {}), **_by_parameter(context, values, path)}
    return path


def _by_parameter(context: typer.Context, values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Flag names, with or without dashes, as the names of the command's parameters."""
    known = {
        flag.lstrip("-"): parameter.name or ""
        for parameter in context.command.params
        for flag in [*parameter.opts, *parameter.secondary_opts]
        if flag.startswith("--") and flag not in ("--config", "--help")
    }
    several = {parameter.name for parameter in context.command.params if parameter.multiple}
    found = {}
    for name, value in values.items():
        flag = str(name).replace("_", "-")
        if flag not in known:
            raise unknown_name(f"flag in {path}", flag, known)
        negated = flag.startswith("no-") and flag.removeprefix("no-") in known
        if isinstance(value, list | dict) and known[flag] not in several:
            raise HarnessError(f"--config {path}: {flag}: wanted one value (names as a,b), found {value}")
        one_of_several = known[flag] in several and not isinstance(value, list)
        found[known[flag]] = [value] if one_of_several else not value if negated else value
    return found


def known_device(name: str) -> str:
    """Refuse what is no device; whether this machine has it shows when it is used.

    Raises:
        HarnessError: Naming the nearest.
    """
    known = ("auto", "cpu", "cuda", "mps")
    if name.partition(":")[0] not in known:
        raise unknown_name("device", name, known)
    return name


def known_dtype(name: str) -> str:
    """Refuse a dtype that is none of the three that models compute in.

    Raises:
        HarnessError: Naming the nearest.
    """
    known = ("float32", "bfloat16", "float16")
    if name not in known:
        raise unknown_name("dtype", name, known)
    return name


Checkpoints = Annotated[
    list[str],
    typer.Argument(metavar="CKPT...", help="Folder, hf:NAME, openai:MODEL@URL or ollama:MODEL; NAME=... gives a name."),
]
RunFolder = Annotated[Path, typer.Option("--run", help="Folder that holds everything recorded.")]
Limit = Annotated[int | None, typer.Option(min=1, max=10**9, help="Only N items (of each benchmark task).")]
Seed = Annotated[int, typer.Option(help="Of everything drawn at random.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output; tables go to standard error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")]
Full = Annotated[bool, typer.Option("--full", help="Also what else is known of each row.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do again what is recorded.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="YAML file of flags; a flag given here wins.", is_eager=True, callback=read_config),
]
Style = Annotated[
    str | None,
    typer.Option(
        help="Prompt style: alpaca, phi3, chatml, llama3, or chat (the checkpoint's chat template). "
        "Default: the one it was trained in, else its chat template."
    ),
]
System = Annotated[str | None, typer.Option(help="System message, for items that bring none of their own.")]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Tokens an answer may have.")]
Temperature = Annotated[float, typer.Option(min=0, help="0 takes the likeliest answer.")]
TopK = Annotated[int | None, typer.Option(min=1, help="Sample among the K likeliest tokens.")]
TopP = Annotated[float, typer.Option(help="Sample among the likeliest tokens of this probability.")]
Samples = Annotated[int, typer.Option(min=1, help="Answers to each item.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", callback=known_device)]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16.", callback=known_dtype)]
Chat = Annotated[bool, typer.Option("--chat", help="Put prompts into the checkpoint's chat template.")]
Memory = Annotated[
    float | None,
    typer.Option(min=0.01, metavar="GIB", help="Memory for computing beside the weights; default: half of the free."),
]
Data = Annotated[Path | None, typer.Option(help="Test entries; default: the test split remembered.")]
Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="reference (the default), check:KIND, openai:MODEL@URL, ollama:MODEL, a model folder, or scripted:FILE; "
        "may be repeated.",
    ),
]
Rubric = Annotated[str | None, typer.Option(metavar="NAME|FILE", help="What is asked; default: correctness.")]
Pairwise = Annotated[bool, typer.Option("--pairwise", help="Compare answers in pairs, in both orders.")]
Against = Annotated[
    str | None, typer.Option(metavar="CKPT|expected", help="Compare in pairs with this; default: the base.")
]
Reasons = Annotated[bool, typer.Option(help="Ask the judge for reasons before the score.")]
Weighted = Annotated[bool, typer.Option("--weighted", help="Weight the scores by the probabilities of their tokens.")]
Repeats = Annotated[int, typer.Option(min=1, help="Judgments of each answer.")]
JudgeTemperature = Annotated[float, typer.Option(min=0, help="Of the judge; 0 takes the likeliest reply.")]
JudgeMaxTokens = Annotated[int, typer.Option(min=1, help="Tokens the judge's reply may have.")]
JudgeSeed = Annotated[int, typer.Option(help="Of the judge's first repeat.")]
ReplyForm = Annotated[
    Literal["auto", "schema", "object", "text"], typer.Option(help="How the reply is asked for; auto finds out.")
]
CallsPerMinute = Annotated[int | None, typer.Option(min=1, help="Calls a minute to the judge.")]
TokensPerMinute = Annotated[int | None, typer.Option(min=1, help="Tokens a minute to the judge.")]
JudgeTimeout = Annotated[float, typer.Option(min=0.1, help="Seconds for one reply of the judge.")]
JudgeRetries = Annotated[int, typer.Option(min=0, help="Further attempts after a failure that may pass.")]
MaxCalls = Annotated[int | None, typer.Option(min=0, help="Stop at so many calls; what was judged is kept.")]
MaxCost = Annotated[float | None, typer.Option(min=0, help="Stop before this is spent, in the prices' currency.")]
PricePrompt = Annotated[float | None, typer.Option(min=0, help="Of a million tokens of prompts.")]
PriceOutput = Annotated[float | None, typer.Option(min=0, help="Of a million tokens of replies.")]
Prices = Annotated[Path | None, typer.Option(help="YAML file of prices: MODEL: {prompt: .., output: ..}.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would take, show three prompts; ask nothing.")]
Validation = Annotated[bool, typer.Option(help="Judge the validation split too, to pick on it.")]
RetryUnscored = Annotated[bool, typer.Option("--retry-unscored", help="Judge again what has no score.")]
LmEvalJson = Annotated[
    Path | None,
    typer.Option("--lm-eval-json", metavar="FILE.json|DIR", help="Also write what lm_eval --output_path would."),
]


def field_flag(name: str) -> Any:
    """A flag that says which field of a file of answers holds something."""
    return Annotated[
        str | None, typer.Option(f"--field-{name}", metavar="FIELD", help=f"Field of --responses with the {name}.")
    ]


BatchSize = Annotated[int, typer.Option(min=1, help="Prompts answered side by side.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Calls to an endpoint at once, be it a checkpoint or the judge.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"ift-eval {version('ift-eval')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
]
