"""What a base reads: its tokenizer and its context, without its weights."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.presets import PRESETS
from harness.checkpoints import SHORT_NAMES, Target, parse_reference, resolve
from harness.stages import one_target

if TYPE_CHECKING:
    from finetune.tokenizer import Tokenizer

_GPT2_FILES = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


@dataclass(frozen=True)
class BaseReading:
    """How a base reads.

    Attributes:
        name: Of the base.
        tokenizer: Of the base.
        context: Tokens it can read.
        note: What a reader should know of the choice.
    """

    name: str
    tokenizer: "Tokenizer"
    context: int
    note: str | None = None


def read_base(reference: str | None, *, environment: Mapping[str, str] = os.environ) -> BaseReading:
    """The tokenizer and the context of a base; without one GPT-2's, if that needs no download.

    Args:
        reference: What `finetune --base` takes; the GPT-2 models are known by name.
        environment: Says where tiktoken keeps its files.

    Raises:
        FinetuneError: If it is an endpoint, several, or its files cannot be read.
        HarnessError: If it cannot be found.
    """
    from finetune.tokenizer import Tokenizer

    if reference is None and not gpt2_at_hand(environment):
        return _embedded()
    reference = reference or "gpt2"
    name = parse_reference(reference).target.removeprefix("openai-community/")
    if name in PRESETS and SHORT_NAMES[name] == parse_reference(reference).target:
        return BaseReading(name, Tokenizer.by_name("gpt2"), PRESETS[name].context_length)
    return _of_target(one_target(resolve([reference]), "--base"))


def gpt2_at_hand(environment: Mapping[str, str]) -> bool:
    """Whether tiktoken has GPT-2's files in its cache; it would download them otherwise."""
    usual = Path(tempfile.gettempdir()) / "data-gym-cache"
    folder = environment.get("TIKTOKEN_CACHE_DIR", environment.get("DATA_GYM_CACHE_DIR", str(usual)))
    names = (hashlib.sha1(f"{_GPT2_FILES}{name}".encode()).hexdigest() for name in ("vocab.bpe", "encoder.json"))
    return bool(folder) and all((Path(folder) / name).is_file() for name in names)


def _embedded() -> BaseReading:
    import finetune.data

    folder = Path(finetune.data.__file__).with_name("base")
    reading = _of_folder("the embedded base", folder, folder)
    note = "lengths are those of the embedded base's small vocabulary, since GPT-2's is not on this machine; --base"
    return BaseReading(reading.name, reading.tokenizer, reading.context, f"{note} names another")


def _of_target(target: Target) -> BaseReading:
    tokenizers = target.tokenizer_folder
    return _of_folder(target.record.name, target.model_folder, tokenizers if tokenizers.is_dir() else tokenizers.parent)


def _of_folder(name: str, home: Path, tokenizers: Path) -> BaseReading:
    from finetune.architectures import read_config
    from finetune.tokenizer import Tokenizer

    # The book's files hold no configuration; every one of them has GPT-2's context.
    config = PRESETS["gpt2"] if home.is_file() else read_config(home)
    path = tokenizers / "tokenizer.json"
    plain = not path.exists() and config.vocab_size == PRESETS["gpt2"].vocab_size
    tokenizer = Tokenizer.by_name("gpt2") if plain else Tokenizer.from_file(path)
    return BaseReading(name, tokenizer, config.context_length)
