"""Files and folders that appear under their name whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from finetune.errors import FinetuneError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, in the same folder; what is written there takes the file's name when all is done.

    Raises:
        FinetuneError: If the disk is full, or the place cannot be written to. Nothing half-written stays.
    """
    partial = _partial(path)
    try:
        with _said(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            _to_disk(partial)
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; it takes the name, and the place of what had it, when all is done.

    Raises:
        FinetuneError: As `whole_file`.
    """
    partial, before = _partial(folder), folder.with_name(f".{folder.name}.before")
    try:
        with _said(folder):
            for left in (partial, before):
                shutil.rmtree(left, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            for file in partial.iterdir():
                _to_disk(file)
            if folder.exists():
                folder.rename(before)
            partial.rename(folder)
    finally:
        if before.exists() and not folder.exists():
            before.rename(folder)
        for left in (partial, before):
            shutil.rmtree(left, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _to_disk(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise FinetuneError(f"{path} could not be written: {path.parent} is no folder; choose another place") from None
    except SafetensorError as error:  # which wraps the system's own
        raise FinetuneError(f"{path} could not be written: {error}; make room, or choose another place") from None
    except OSError as error:
        # numpy says only how many bytes it did not get rid of.
        reason = error.strerror or f"{error}: is the disk full?"
        raise FinetuneError(f"{path} could not be written: {reason}; make room, or choose another place") from None
