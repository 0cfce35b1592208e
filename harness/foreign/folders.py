"""Model folders that transformers runs and we do not: told apart from broken ones and hashed, weights unread."""

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import CheckpointError

if TYPE_CHECKING:
    from finetune.adapter import Fetch
    from finetune.architectures import UnsupportedError

INSTALL = "pip install 'ift-eval[hf]'"
SERVE = "serve it (vLLM, llama.cpp) and name it openai:MODEL@URL"

# What decides how a text becomes ids; the chat template is left out, since the prompts it writes are recorded.
_TOKENIZERS = ("tokenizer*", "*.model", "vocab.*", "merges.txt", "tekken.json")
_BESIDE = ("added_tokens.json", "special_tokens_map.json", "generation_config.json")
_WRITES = ("CausalLM", "LMHead", "ConditionalGeneration")  # in the names of classes that write text
# Of adapter_config.json: where things were, not what they compute.
_NEUTRAL = {"base_model_name_or_path", "inference_mode", "peft_version", "revision", "auto_mapping"}


@dataclass(frozen=True)
class Foreign:
    """Where a model lies that only transformers runs.

    Attributes:
        folder: Of the model itself; of the base, for an adapter.
        adapter: Folder of the adapter, if it is one.
        reason: Why our own transformer does not run it.
    """

    folder: Path
    adapter: Path | None
    reason: str

    @property
    def tokenizer(self) -> Path:
        """The folder with the tokenizer: an adapter without one has its base's."""
        own = self.adapter is not None and _has_tokenizer(self.adapter)
        return self.adapter if self.adapter is not None and own else self.folder

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides the answers, 16 hex digits."""
        whole = hashlib.sha256()
        if self.adapter is not None:
            whole.update(f"{self.base_fingerprint} {_deciding(self.adapter)}".encode())
        for file in _files(self.adapter or self.folder):
            whole.update(file.name.encode() + _digest(file))
        return whole.hexdigest()[:16]

    @property
    def base_fingerprint(self) -> str | None:
        """The fingerprint that an adapter's base has when it is named itself; None for a whole model."""
        return None if self.adapter is None else _fingerprint_of(self.folder, _state(self.folder))


def look(folder: Path, fetch: "Fetch") -> Foreign | None:
    """What transformers has to run, or None where our own transformer runs what is there.

    Args:
        folder: A folder that exists, or the book's file.
        fetch: Downloads an adapter's base.

    Raises:
        FinetuneError: If a file is broken or missing.
        CheckpointError: If neither runs it, or the packages that would are not installed.
    """
    from finetune.adapter import check_tensors, find_base, is_adapter, read_adapter, read_base
    from finetune.architectures import read_config

    if folder.is_file():
        return None
    if not is_adapter(folder):
        refused = _refusal(read_config, folder)
        return _checked(Foreign(folder, None, refused.reason)) if refused else None
    refused = _refusal(read_adapter, folder) or _refusal(check_tensors, folder)
    base = find_base(read_base(folder), fetch)
    if base.is_file():
        if refused:
            raise refused
        return None
    refused = refused or _refusal(read_config, base)
    return _checked(Foreign(base, folder, refused.reason)) if refused else None


def _refusal(read: Callable[[Path], object], folder: Path) -> "UnsupportedError | None":
    from finetune.architectures import UnsupportedError

    try:
        read(folder)
    except UnsupportedError as error:
        return error
    return None


def _checked(foreign: Foreign) -> Foreign:
    """The same, if it is whole and of a kind that can answer."""
    from finetune import adapter, weight_files
    from finetune.architectures import read_json

    wanted = ["transformers", *(["peft"] if foreign.adapter else [])]
    if missing := [name for name in wanted if importlib.util.find_spec(name) is None]:
        raise CheckpointError(f"{foreign.reason}; to answer it wants {' and '.join(missing)}: {INSTALL}")
    _check_kind(read_json(foreign.folder / "config.json"), foreign.folder)
    weight_files.weight_files(foreign.folder)
    if foreign.adapter and not adapter.weight_files(foreign.adapter):
        raise CheckpointError(f"{foreign.adapter}: wanted {adapter.WEIGHTS} beside {adapter.CONFIG}, found none")
    if not _has_tokenizer(foreign.tokenizer):
        raise CheckpointError(
            f"{foreign.tokenizer} holds no tokenizer; copy tokenizer.json, or tokenizer.model, from the model it "
            f"was made from"
        )
    return foreign


def _check_kind(config: dict[str, Any], folder: Path) -> None:
    named = config.get("architectures") or []
    what = ", ".join(map(str, named)) if isinstance(named, list) and named else str(config.get("model_type"))
    if config.get("is_encoder_decoder"):
        raise CheckpointError(
            f"{folder}: wanted a model that goes on with a text, found the encoder-decoder {what}, which is not run "
            f"here; {SERVE}"
        )
    tasks = [name for name in map(str, named) if "For" in name and not any(part in name for part in _WRITES)]
    if tasks and len(tasks) == len(named):
        raise CheckpointError(f"{folder}: wanted a model that writes text (...ForCausalLM), found {what}")


def _has_tokenizer(folder: Path) -> bool:
    return any(_tokenizer_files(folder))


def _tokenizer_files(folder: Path) -> Iterator[Path]:
    return (path for pattern in _TOKENIZERS for path in folder.glob(pattern) if path.is_file())


def _files(folder: Path) -> list[Path]:
    """The files of a model or adapter that decide its answers."""
    from finetune import adapter, weight_files

    weights = adapter.weight_files(folder) if adapter.is_adapter(folder) else weight_files.weight_files(folder)
    beside = [folder / name for name in _BESIDE if (folder / name).exists()]
    own = [] if adapter.is_adapter(folder) else [folder / "config.json"]
    return sorted({*weights, *_tokenizer_files(folder), *beside, *own})


def _digest(file: Path) -> bytes:
    if file.name == "tokenizer_config.json":
        try:
            settings = json.loads(file.read_text("utf-8"))
            settings.pop("chat_template", None)
            return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()
        except (ValueError, AttributeError):  # whoever reads it says what is wrong with it
            pass
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").digest()


def _deciding(adapter: Path) -> str:
    from finetune.adapter import CONFIG
    from finetune.architectures import read_json

    raw = read_json(adapter / CONFIG)
    return json.dumps({name: raw[name] for name in sorted(raw.keys() - _NEUTRAL)}, sort_keys=True)


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files: while these stay, its fingerprint does."""
    files = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)


@lru_cache(maxsize=8)
def _fingerprint_of(folder: Path, state: object) -> str:
    """A base is hashed once for all its adapters."""
    from finetune.architectures import read_config
    from finetune.checkpoint import fingerprint

    refused = _refusal(read_config, folder)
    return Foreign(folder, None, refused.reason).fingerprint if refused else fingerprint(folder)
