"""What a fine-tuning folder says of itself: settings, data, base; whether it is finished, and may be written to."""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from finetune.atomic import whole_file
from finetune.errors import FinetuneError
from finetune.recipes import TrainConfig

STATE, LOCK = "finetune.json", ".finetune.lock"
UNFINISHED = re.compile(r"\.(?:(?:epoch|step)-\d+|merged|best|(?:finetune|history|resume)\.\w+)\.(?:partial|before)")


class State(BaseModel):
    """What `finetune.json` holds.

    Attributes:
        settings: The training settings.
        data: Hash of the entries of the three splits.
        base: Reference of the model it started from.
        base_fingerprint: That model's fingerprint.
        finished: Whether training came to its end.
        processes: How many trained together.
        best: Name of the checkpoint with the lowest validation loss.
        stopped: Why training stopped before its last step, if it did.
    """

    model_config = ConfigDict(extra="forbid")

    settings: TrainConfig
    data: str
    base: str
    base_fingerprint: str
    processes: int = 1
    finished: bool = False
    best: str | None = None
    stopped: str | None = None


def read_state(out: Path) -> State | None:
    """The state of an earlier fine-tuning into this folder, or None.

    Raises:
        FinetuneError: If its `finetune.json` cannot be read.
    """
    path = out / STATE
    if not path.exists():
        return None
    try:
        return State.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise FinetuneError(f"{path} is damaged ({error.errors()[0]['msg']}); --overwrite starts anew") from None


def already_done(out: Path, wanted: State, *, overwrite: bool) -> bool:
    """Whether the same fine-tuning has been finished in this folder, so that nothing is left to do.

    Raises:
        FinetuneError: If the folder holds another fine-tuning, or other things, and `overwrite` is not given.
    """
    if out.exists() and not out.is_dir():
        raise FinetuneError(f"wanted a folder for the checkpoints, {out} is a file; choose another --out")
    if overwrite or not out.exists() or all(p.name == LOCK or UNFINISHED.fullmatch(p.name) for p in out.iterdir()):
        return False
    found = read_state(out)
    if found is None:
        raise FinetuneError(f"{out} is not empty and holds no fine-tuning; choose another --out, or --overwrite it")
    differing = [*_differences(found, wanted)]
    if differing:
        raise FinetuneError(
            f"{out} holds a fine-tuning with another {'; another '.join(differing)}; "
            f"choose another --out, or --overwrite it"
        )
    return found.finished


def _differences(found: State, wanted: State) -> Iterator[str]:
    """What differs, as "batch_size (8 there, 4 now)"."""
    then, now = found.settings.model_dump(), wanted.settings.model_dump()
    for name, value in now.items():
        if then[name] != value:
            yield f"{name} ({then[name]} there, {value} now)"
    if found.processes != wanted.processes:
        yield f"number of processes ({found.processes} there, {wanted.processes} now)"
    if found.data != wanted.data:
        yield "data set"
    if found.base_fingerprint != wanted.base_fingerprint:
        yield f"base ({found.base} there, {wanted.base} now)"


def write_state(out: Path, state: State) -> None:
    """Write it whole or not at all."""
    with whole_file(out / STATE) as partial:
        partial.write_text(state.model_dump_json(indent=1), "utf-8")
