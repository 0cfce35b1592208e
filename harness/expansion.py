"""A folder of checkpoints: which there are, in step order, whichever trainer left them, and which are half written."""

import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError

MODEL, ADAPTER = "config.json", "adapter_config.json"
FINAL = "final"  # what the model in the top folder is called beside its checkpoints
BEST, MERGED = "best", "merged"  # axolotl and our own core write these beside their checkpoints
_COPIES = (BEST, MERGED)
_STEP = re.compile(r"(epoch|checkpoint|step)-?(\d+)")
_HEADER_BYTES = 8  # a safetensors file begins with the length of its header


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes:
        steps: Folders of checkpoints, in step order.
        copies: `best`, `merged`: usually one of the checkpoints once more.
        final: The folder itself, where a model or an adapter lies in it.
        broken: Folders named as checkpoints that are none, and why.
    """

    steps: list[Path] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    final: Path | None = None
    broken: dict[Path, str] = field(default_factory=dict)


def holds_model(folder: Path) -> bool:
    """Whether it is a model's folder or an adapter's."""
    return any((folder / name).exists() for name in (MODEL, ADAPTER))


def number_of(name: str) -> int | None:
    """The number in a checkpoint's name; None for any other name."""
    match = _STEP.fullmatch(name)
    return int(match[2]) if match else None


def step_in_name(name: str) -> int | None:
    """The optimizer step in a checkpoint's name; None where there is none: an epoch is no step."""
    return None if name.startswith("epoch") else number_of(name)


def steps_in(folder: Path) -> list[Path]:
    """Folders named as checkpoints, in the order of their numbers: checkpoint-1000 after checkpoint-200."""
    named = {path: number_of(path.name) for path in _folders(folder)}
    return sorted((p for p, n in named.items() if n is not None), key=lambda p: (named[p] or 0, p.name))


def is_checkpoint_of_several(folder: Path) -> bool:
    """Whether it is named as one of the checkpoints of the folder above it."""
    return number_of(folder.name) is not None or folder.name in _COPIES


def look_into(folder: Path) -> Found:
    """Everything that can be evaluated in a folder, and what is half written there."""
    found = Found(final=folder if holds_model(folder) and flaw(folder) is None else None)
    for path in steps_in(folder):
        _sort(path, found.steps, found)
    for name in _COPIES:
        if (folder / name).is_dir():
            _sort(folder / name, found.copies, found)
    if found.final is None and holds_model(folder):
        found.broken[folder] = flaw(folder) or ""
    return found


def where_checkpoints_are(folder: Path) -> Path:
    """The folder itself, or the only one in it that holds checkpoints where the folder has none of its own.

    Raises:
        HarnessError: If several of the folders in it do.
    """
    if steps_in(folder) or holds_model(folder) or any((folder / name).is_dir() for name in _COPIES):
        return folder
    inner = [path for path in _folders(folder) if any(holds_model(step) for step in steps_in(path))]
    if len(inner) > 1:
        names = ", ".join(path.name for path in inner[:4]) + (", ..." if len(inner) > 4 else "")
        raise HarnessError(f"wanted one folder of checkpoints, {folder} holds {len(inner)} ({names}); name one of them")
    return inner[0] if inner else folder


def _sort(path: Path, whole: list[Path], found: Found) -> None:
    why = flaw(path)
    if why is None:
        whole.append(path)
    else:
        found.broken[path] = why


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def flaw(folder: Path) -> str | None:
    """Why a folder is no whole checkpoint, as it looks from outside: the tensors themselves are not read."""
    from finetune.adapter import weight_files as adapter_files
    from finetune.errors import FinetuneError
    from finetune.weight_files import weight_files

    adapter = (folder / ADAPTER).exists()
    config = folder / (ADAPTER if adapter else MODEL)
    if not config.exists():
        return f"it holds no {MODEL} and no {ADAPTER}{_sharded_state(folder)}"
    if not _is_object(config):
        return f"its {config.name} is not JSON"
    try:
        files = adapter_files(folder) if adapter else weight_files(folder)
    except FinetuneError as error:
        return str(error).removeprefix(f"{folder}: ") + _sharded_state(folder)
    if not files:
        return "it holds no adapter_model.safetensors"
    return next((f"its {file.name} {why}" for file in files if (why := _cut_off(file))), None)


def _is_object(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (ValueError, OSError):
        return False


def _sharded_state(folder: Path) -> str:
    """What to do where a parallel trainer left only its own shards."""
    if any(folder.glob("global_step*")):
        return ": DeepSpeed's shards alone; run the zero_to_fp32.py beside them"
    if any(folder.glob("pytorch_model_fsdp*")):
        return ": FSDP's shards alone; run accelerate merge-weights on them"
    return ""


def _cut_off(file: Path) -> str | None:
    """How a file of weights shows that it was not written to its end."""
    try:
        size = file.stat().st_size
        if size == 0:
            return "is empty"
        if file.suffix != ".safetensors":
            return None if zipfile.is_zipfile(file) or _is_old_pickle(file) else "is cut off"
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(_HEADER_BYTES), "little")
            if _HEADER_BYTES + length > size:
                return "is cut off in its header"
            header = json.loads(handle.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        wanted = _HEADER_BYTES + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "has a damaged header"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return None if size == wanted else f"is cut off: {size:,} of {wanted:,} bytes" if size < wanted else None


def _is_old_pickle(file: Path) -> bool:
    """PyTorch's format before 1.6 is a plain pickle, of which only the beginning can be known."""
    with file.open("rb") as handle:
        return handle.read(1) == b"\x80"
