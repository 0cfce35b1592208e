"""Data sets of the hub, through the `datasets` library, which keeps what was fetched once."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from finetune.errors import FinetuneError
from finetune.reading.shards import choose_split
from finetune.reading.tables import plain_rows

HUB = "hf:"
_REFERENCE = re.compile(r"hf:(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[^:@]+))?(:(?P<split>[\w./-]+))?")
_BATCH = 1024  # rows
Load = Callable[..., Any]  # as `datasets.load_dataset`


def hub_name(reference: str) -> str:
    """The last part of a data set's name, without its owner, revision and split."""
    return str(_parts(reference)["name"]).rpartition("/")[2]


def read_hub(reference: str, load: Load | None = None) -> Iterator[dict[str, Any]]:
    """The rows of one split of a data set.

    Args:
        reference: `hf:ORG/NAME[@REVISION][:SPLIT]`; a split of a configuration is `CONFIGURATION/SPLIT`.
        load: Fetches it; `datasets.load_dataset` when None.

    Raises:
        FinetuneError: If the reference is none, the data set cannot be had, or it has several splits and none
            is chosen.
    """
    parts = _parts(reference)
    config, _, split = (parts["split"] or "").rpartition("/")
    try:
        found = (load or _load())(parts["name"], config or None, revision=parts["revision"], split=split or None)
        if isinstance(found, dict):
            found = found[choose_split(list(found), None, reference)]
        # As Arrow tables: images and sounds are not decoded only to be left out.
        for table in found.with_format("arrow").iter(batch_size=_BATCH):
            yield from plain_rows(table)
    except FinetuneError:
        raise
    except Exception as error:  # the library's, the client's and the data set's own: no tree holds them all
        raise FinetuneError(_sentence(reference, error)) from error


def _parts(reference: str) -> dict[str, Any]:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise FinetuneError(f"{reference}: wanted a data set as hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME:SPLIT")
    return match.groupdict()


def _load() -> Load:
    try:
        from datasets import load_dataset
    except ImportError:
        raise FinetuneError("data sets of the hub need the datasets library; pip install datasets") from None
    return load_dataset  # type: ignore[no-any-return]


def _sentence(reference: str, error: Exception) -> str:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{reference}: wanted a data set of the hub, which could not be had ({said}); give a local file instead"
