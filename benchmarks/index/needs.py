"""What a task needs before it can be run: data, packages, and things that are not done here."""

import os.path
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.index.catalog import Manager
from benchmarks.index.imports import missing_packages, nltk_data
from benchmarks.index.members import Settings, data_set, members

ANSWERS = {
    "multiple_choice": "choices",
    "generate_until": "text",
    "loglikelihood": "log-likelihood",
    "loglikelihood_rolling": "rolling",
}
"""lm-eval's output types in a reader's words."""

# Data sets of the hub that want a name and a licence accepted first, as their pages say.
_GATED = {"Idavidrein/gpqa", "cais/hle", "GAIA-benchmark/GAIA", "walledai/AdvBench", "walledai/XSTest"}


@dataclass(frozen=True)
class Needs:
    """What the tasks behind a name need, all of them together.

    Attributes:
        answers: How they are answered: `choices`, `text`, `log-likelihood`, `rolling`; `?` where only running tells.
        data_sets: The hub's names, the configuration in brackets.
        packages: Missing on this machine, as `pip install` takes them.
        token: Whether the hub gives the data to those with a token only.
        runs_code: Whether code that the model writes is run.
        media: `images`, `sound`.
        n_tasks: How many tasks there are.
    """

    answers: tuple[str, ...]
    data_sets: tuple[str, ...]
    packages: tuple[str, ...]
    token: bool
    runs_code: bool
    media: tuple[str, ...]
    n_tasks: int

    @property
    def remarks(self) -> list[str]:
        """What stands in the way, or may, in words."""
        return [
            *(["runs code the model writes: not done here"] if self.runs_code else []),
            *([f"{' and '.join(self.media)}: not read here"] if self.media else []),
            *([f"pip install {' '.join(self.packages)}"] if self.packages else []),
            *(["gated: wants a hub token"] if self.token else []),
        ]


def needs_of(name: str, manager: Manager) -> Needs:
    """What the tasks that a name stands for need, as their files say."""
    return _together(members([name], manager).values())


def needs_together(names: Iterable[str], manager: Manager) -> Needs:
    """What several names need between them."""
    return _together(members(names, manager).values())


def _together(tasks: Iterable[Settings]) -> Needs:
    tasks = list(tasks)
    return Needs(
        answers=tuple(sorted({_answer(settings) for settings in tasks})),
        data_sets=tuple(sorted({found for settings in tasks if (found := data_set(settings))})),
        packages=tuple(sorted({package for settings in tasks for package in _packages(settings)})),
        token=any(map(_wants_token, tasks)),
        runs_code=any(settings.get("unsafe_code") for settings in tasks),
        media=tuple(sorted({medium for settings in tasks for medium in _media(settings)})),
        n_tasks=len(tasks),
    )


def _answer(settings: Settings) -> str:
    return ANSWERS.get(str(settings.get("output_type")), "?" if "class" in settings else "text")


def _media(settings: Settings) -> Iterator[str]:
    if settings.get("doc_to_image"):
        yield "images"
    if settings.get("doc_to_audio"):
        yield "sound"


def _wants_token(settings: Settings) -> bool:
    options = settings.get("dataset_kwargs") or {}
    return settings.get("dataset_path") in _GATED or bool(options.get("token") or options.get("use_auth_token"))


def _functions(value: Any) -> Iterator[str]:
    """Every `!function` of a task's settings."""
    if isinstance(value, str):
        if os.path.isabs(value) and "\n" not in value:
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _functions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _functions(inner)


def _packages(settings: Settings) -> Iterator[str]:
    for function in _functions(settings):
        yield from missing_packages(function)


def scored_only(names: Iterable[str], manager: Manager) -> tuple[str, ...]:
    """Of the tasks that these names stand for, those that log-probabilities alone can answer, as their files say.

    Multiple choice can be written too, unless the task reads the log-likelihoods with code of its own.
    """
    return tuple(task for task, settings in members(names, manager).items() if _scored_only(settings))


def _scored_only(settings: Settings) -> bool:
    kind = settings.get("output_type")
    own_reading = kind == "multiple_choice" and bool(settings.get("process_results"))
    return kind in ("loglikelihood", "loglikelihood_rolling") or own_reading


def check_needs(names: Iterable[str], manager: Manager, *, hub: bool = True) -> None:
    """Refuse what cannot end well before anything is loaded.

    Args:
        names: Names that are known.
        manager: See `benchmarks.index.catalog.task_manager`.
        hub: Whether the network is there, so that what a task fetches by itself can be fetched.

    Raises:
        BenchmarkError: If a task runs code that the model writes, has images or sound, lacks a package, or nltk data.
    """
    for name in names:
        for task, settings in members([name], manager).items():
            called = task if task == name else f"{task} (of {name})"
            if settings.get("unsafe_code"):
                raise BenchmarkError(
                    f"task {called} runs code that the model writes, which is not done here; leave it out"
                )
            if media := list(_media(settings)):
                raise BenchmarkError(
                    f"task {called} has {' and '.join(media)}, this model reads text only; leave it out"
                )
            if packages := sorted(set(_packages(settings))):
                raise BenchmarkError(
                    f"task {called} needs {_several(packages)}, not installed here: pip install {' '.join(packages)}"
                )
            if not hub:
                _check_nltk(called, settings)


def _several(packages: list[str]) -> str:
    return f"the package {packages[0]}" if len(packages) == 1 else f"{len(packages)} packages"


def _check_nltk(task: str, settings: Settings) -> None:
    wanted = sorted({name for function in _functions(settings) for name in nltk_data(function)})
    if not wanted:
        return
    import nltk  # type: ignore[import-untyped]

    for name in wanted:
        try:
            nltk.data.find(f"tokenizers/{name}")
        except LookupError:
            raise BenchmarkError(
                f"task {task} needs nltk's {name}, which is not here, and there is no network: run "
                f"`python -m nltk.downloader {name}` where there is one, and copy its nltk_data/tokenizers/{name} "
                f"to {nltk.data.path[0]}/tokenizers (or name the folder in NLTK_DATA)"
            ) from None
