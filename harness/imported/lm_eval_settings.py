"""What lm-eval's `results_*.json` says of the samples beside it: whose they are, and how they were made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.presets import MMLU_SUBJECTS
from harness.records import JSON

_MMLU = "mmlu"
_UNKNOWN = "no results_*.json beside the samples: nobody knows shots, version and prompts"


@dataclass(frozen=True)
class SampleFile:
    """A file of samples by its name, `samples_TASK_TIME.jsonl`.

    Attributes:
        path: The file.
        task: lm-eval's name of the task; of a file with another name that name.
        time: When it was made, as it is written in the name; "" in another name.
    """

    path: Path
    task: str
    time: str


def sample_file(path: Path) -> SampleFile:
    """Read the name of a file."""
    if not path.name.startswith("samples_") or path.stem.count("_") < 2:
        return SampleFile(path, path.stem, "")
    task, _, time = path.stem.removeprefix("samples_").rpartition("_")
    return SampleFile(path, task, time)


@dataclass(frozen=True)
class RunSettings:
    """One run of lm-eval.

    Attributes:
        model: What it calls the model; None where nothing says so.
        raw: `results_*.json`; empty where there is none.
    """

    model: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    def _of(self, what: str, task: str) -> Any:
        whole = self.raw.get(what)
        return whole.get(task) if isinstance(whole, dict) else None

    def group(self, task: str) -> str:
        """The group that the task was run in, the outermost one; MMLU's subjects are known by their names."""
        groups = self.raw.get("group_subtasks")
        above = {
            str(member): str(group)
            for group, members in (groups.items() if isinstance(groups, dict) else ())
            for member in members or ()
        }
        top, seen = task, {task}
        while top in above and above[top] not in seen:
            top = above[top]
            seen.add(top)
        if top == task and task.removeprefix(f"{_MMLU}_") in MMLU_SUBJECTS and task.startswith(f"{_MMLU}_"):
            return _MMLU
        return top

    def alias(self, task: str) -> str:
        """The short name lm-eval prints, by which items are clustered."""
        config = self._of("configs", task)
        alias = config.get("task_alias") if isinstance(config, dict) else None
        return alias if isinstance(alias, str) and alias else task

    def higher_is_better(self, task: str, metric: str) -> bool:
        """As the task has it, else as lm-eval knows the metric."""
        own = self._of("higher_is_better", task)
        told = own.get(metric) if isinstance(own, dict) else None
        return _usual_direction(metric) if told is None else bool(told)

    def aggregation(self, task: str, metric: str) -> str | None:
        """The name of the function that makes the metric of its items; None where the file does not say."""
        config = self._of("configs", task)
        listed = config.get("metric_list") if isinstance(config, dict) else None
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict) and one.get("metric") == metric and isinstance(one.get("aggregation"), str):
                return str(one["aggregation"])
        return None

    def settings(self, tasks: list[str]) -> dict[str, JSON]:
        """What changes the numbers of these tasks and is known, in the words of a run's own settings."""
        if not self.raw:
            return {}
        whole = self.raw.get("config")
        config = whole if isinstance(whole, dict) else {}
        found: dict[str, JSON] = {
            "shots": _one_or_each({task: self._of("n-shot", task) for task in tasks}),
            "version": _one_or_each({task: self._of("versions", task) for task in tasks}),
            "limit": config.get("limit"),
        }
        if "chat_template" in self.raw:
            found["chat"] = self.raw["chat_template"] is not None
        if "system_instruction" in self.raw:
            found["system message"] = self.raw["system_instruction"] or ""
        if config.get("gen_kwargs"):
            found["generation settings"] = json.dumps(config["gen_kwargs"], sort_keys=True)
        return {name: value for name, value in found.items() if value is not None}

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        return [] if self.raw else [_UNKNOWN]


def _one_or_each(values: Mapping[str, Any]) -> JSON:
    """The value where all have the same, else that of each; None where none is known."""
    known = {name: value for name, value in values.items() if value is not None}
    different = {json.dumps(value, sort_keys=True) for value in known.values()}
    return known if len(different) > 1 else next(iter(known.values()), None)


def _usual_direction(metric: str) -> bool:
    import logging

    from lm_eval.api.registry import is_higher_better

    logger = logging.getLogger("lm_eval")
    before, logger.disabled = logger.disabled, True  # it warns of metrics that are a task's own
    try:
        return is_higher_better(metric) is not False
    finally:
        logger.disabled = before


def run_settings(file: SampleFile) -> RunSettings:
    """What lies beside a file of samples: the results of the same time, else the only ones that have the task."""
    folder = file.path.parent
    same = folder / f"results_{file.time}.json"
    read = [(path, _read(path)) for path in ([same] if same.is_file() else sorted(folder.glob("results_*.json")))]
    having = [raw for _, raw in read if isinstance(raw.get("results"), dict) and file.task in raw["results"]]
    if len(having) != 1:
        return RunSettings(_folder_name(file))
    raw = having[0]
    return RunSettings(str(raw.get("model_name") or "") or _folder_name(file), raw)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _folder_name(file: SampleFile) -> str | None:
    """lm-eval puts samples into a folder with the name of the model, "/" written as "__"."""
    name = file.path.resolve().parent.name
    return name.replace("__", "/").strip("/") if file.time and name else None
