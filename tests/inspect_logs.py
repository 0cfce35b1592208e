"""Logs of Inspect, made by Inspect itself under the name of its mock model."""

import gc
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, Target, mean, scorer
from inspect_ai.solver import Generate, TaskState, solver

Value = str | int | float | bool | list[Any] | dict[str, Any]


@scorer(metrics=[mean()], name="said")
def as_said(values: Sequence[Value]) -> Any:
    """Give each sample, in every epoch, the value of its place."""
    return _by_place(values)


@scorer(metrics={"*": [mean()]}, name="said")
def as_said_in_parts(values: Sequence[Value]) -> Any:
    """The same of values that have several parts."""
    return _by_place(values)


def _by_place(values: Sequence[Value]) -> Any:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=values[int(str(state.sample_id).removeprefix("s"))])

    return score


@solver
def says_yes() -> Any:
    """Answer without asking the model: newer versions count the mock's tokens with a file from the network."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content(str(state.model), "yes")
        return state

    return solve


def log(
    folder: Path,
    values: Sequence[Value],
    *,
    model: str = "mockllm/one",
    task: str = "demo",
    epochs: int = 1,
    form: str = "eval",
    **settings: Any,
) -> Path:
    """A log in which each sample has the score given."""
    samples = [
        Sample(id=f"s{n}", input=f"question {n}", target="yes", metadata={"topic": f"t{n % 2}"})
        for n in range(len(values))
    ]
    said = as_said_in_parts if isinstance(values[0], dict) else as_said
    whole = Task(dataset=samples, solver=says_yes(), scorer=said(values), name=task, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Inspect's own, of its libraries, would end the evaluation
        (made,) = eval(
            whole,
            model=model,
            log_dir=str(folder),
            log_format=form,  # type: ignore[arg-type]
            display="none",
            epochs=epochs,
        )
        gc.collect()  # streams that it leaves open warn when they are found
    return Path(made.location)
