"""Folders of data files as the hub has them: which split a file is a part of, and the files of one split."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from finetune.errors import FinetuneError, unknown_name

_ENDINGS = (".parquet", ".jsonl", ".csv", ".tsv", ".json")
# Folders of models and data sets hold JSON of other kinds too ("training.json"); only these are surely entries.
_JSON_SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")
# "train-00000-of-00002", with a hash too; "0000"; "part-00000-...". Other numbers belong to the name: "v1.5".
_SHARD = re.compile(r"[-_.]?\d+-of-\d+(-[0-9a-f]{16})?$|^(data|part|shard)?[-_.]?\d+$|^part-\d+-.*$")
_SAYS_NOTHING = ("", "data", "default")


def find_shards(source: Path) -> list[Path] | None:
    """The files of `FOLDER` or `FOLDER:SPLIT`, in order; None when the source is no folder.

    A split is named as its files are, without their numbers (`train-00000-of-00002.parquet` is a part of
    `train`), behind the folders they lie in where these say something (`main/test`).

    Raises:
        FinetuneError: If the folder has no data files, no such split, or several and none is chosen.
    """
    folder, wanted = _folder_and_split(source)
    if folder is None:
        return None
    splits = _splits(folder)
    if not splits:
        raise FinetuneError(
            f"wanted a JSON or JSONL file, {folder} is a folder without Parquet, CSV or JSONL files, or train.json"
        )
    return splits[choose_split(splits, wanted, str(folder))]


def shards_name(source: Path) -> str:
    """The folder's name, or the file's without its ending."""
    folder, _ = _folder_and_split(source)
    return source.stem if folder is None else folder.resolve().name


def choose_split(splits: Iterable[str], wanted: str | None, source: str) -> str:
    """The split that is wanted, by its whole name or the last part of it, or the only one.

    Raises:
        FinetuneError: If there is none of that name, or it could be several.
    """
    names = sorted(splits)
    fits = (
        names
        if wanted is None
        else [n for n in names if n == wanted] or [n for n in names if n.rpartition("/")[2] == wanted]
    )
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise FinetuneError(f"{source}: {unknown_name('split', str(wanted), names)}")
    raise FinetuneError(f"{source}: wanted one split, found {', '.join(fits)}; choose one as {source}:{fits[0]}")


def _folder_and_split(source: Path) -> tuple[Path | None, str | None]:
    if source.is_dir():
        return source, None
    folder, colon, split = str(source).rpartition(":")
    # "C:\data" is a path: nothing that exists stands before its colon but the drive itself.
    if colon and not source.exists() and len(folder) > 1 and Path(folder).is_dir():
        return Path(folder), split
    return None, None


def _splits(folder: Path) -> dict[str, list[Path]]:
    """Files by split. Where there is Parquet, which the hub makes of all else, nothing else counts."""
    found: defaultdict[str, defaultdict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file()):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        split = _split_of(inside)
        ending = path.suffix.lower()
        if ending != ".json" or split.rpartition("/")[2] in _JSON_SPLITS:
            found[ending][split].append(path)
    return next((dict(found[ending]) for ending in _ENDINGS if ending in found), {})


def _split_of(inside: Path) -> str:
    stem = _SHARD.sub("", inside.stem)
    parts = [part for part in (*inside.parent.parts, stem) if part not in _SAYS_NOTHING]
    return "/".join(parts) or "data"
