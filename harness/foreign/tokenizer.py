"""A tokenizer of transformers as one of ours, so that prompt styles and chat templates are the same everywhere."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import FinetuneError
from harness.errors import CheckpointError
from harness.foreign.calls import first_line, quiet

if TYPE_CHECKING:
    from finetune.tokenizer import Tokenizer
    from finetune.vocabulary.tiktoken_backend import Place
    from finetune.vocabulary.tokenizer_config import TokenizerConfig


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer as transformers reads a folder; code that lies there is not run.

    Raises:
        CheckpointError: If transformers cannot read it.
    """
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever Python raises inside code that somebody else wrote
        raise CheckpointError(
            f"{folder}: transformers cannot read its tokenizer: {first_line(error)}; copy tokenizer.json again from "
            f"the model it was made from"
        ) from error


def as_ours(theirs: Any, folder: Path) -> "Tokenizer":
    """The same ids and texts behind our interface.

    A tokenizer's class in transformers may build another pipeline than the `tokenizer.json` says, so what
    transformers made of the file is taken, not the file.

    Args:
        theirs: A tokenizer of transformers.
        folder: Where it was read from.

    Raises:
        FinetuneError: If it has no token that ends a text.
    """
    from finetune.tokenizer import Tokenizer
    from finetune.vocabulary.added_tokens import AddedToken

    config = _config(theirs, folder)
    if getattr(theirs, "is_fast", False):
        return Tokenizer.from_spec(json.loads(theirs.backend_tokenizer.to_str()), name=str(folder), config=config)
    flags = ("special", "single_word", "lstrip", "rstrip", "normalized")
    added = [
        AddedToken(token.content, i, **{flag: bool(getattr(token, flag)) for flag in flags})
        for i, token in theirs.added_tokens_decoder.items()
    ]
    return Tokenizer(SlowBackend(theirs), added, name=str(folder), config=config)


def _config(theirs: Any, folder: Path) -> "TokenizerConfig":
    from finetune.vocabulary.tokenizer_config import NAMES, read_tokenizer_config

    named = {name: getattr(theirs, name, None) for name in NAMES}
    return replace(
        read_tokenizer_config(folder),
        names={name: str(text) for name, text in named.items() if text},
        more_control=frozenset(map(str, theirs.all_special_tokens)),
        adds_start=_adds_start(theirs),
    )


def _adds_start(theirs: Any) -> bool:
    start = getattr(theirs, "bos_token_id", None)
    return start is not None and theirs.encode("a")[:1] == [start] != theirs.encode("a", add_special_tokens=False)[:1]


class SlowBackend:
    """A tokenizer of transformers that is written in Python.

    It puts the space that SentencePiece has before a first word before every stretch of text between control
    tokens, as transformers' own slow tokenizers do.
    """

    def __init__(self, theirs: Any):
        """Wrap it."""
        self._theirs = theirs
        self.vocab_size = max(theirs.get_vocab().values(), default=-1) + 1

    def encode_batch(self, texts: Sequence[str], place: "Place") -> list[list[int]]:
        """Ids of each text."""
        settings = {"add_special_tokens": False, "split_special_tokens": True}
        return [list(self._theirs.encode(text, **settings)) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids."""
        return str(self._theirs.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def check_ids(ids: Sequence[int], rows: int, folder: Path) -> None:
    """Whether a model with so many embeddings can read these ids.

    Raises:
        FinetuneError: If one is beyond them.
    """
    if ids and max(ids) >= rows:
        raise FinetuneError(f"{folder}: the tokenizer writes the id {max(ids)}, the model's vocabulary has only {rows}")
