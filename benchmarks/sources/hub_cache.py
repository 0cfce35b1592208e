"""A data set in the hub client's cache: which of its folders holds the files."""

from pathlib import Path

MMLU = "datasets--cais--mmlu"


def cached_mmlu() -> Path | None:
    """The snapshot of MMLU in the user's own cache (`HF_HUB_CACHE`, `HF_HOME`); None when there is none."""
    from huggingface_hub import constants

    return snapshot_in(Path(constants.HF_HUB_CACHE))


def snapshot_in(folder: Path) -> Path | None:
    """The snapshot of MMLU in a cache, its parent (`HF_HOME`), or the data set's own folder in it.

    The one that `main` points to, else the newest; None when there is none.
    """
    places = (folder, folder.parent, folder / MMLU, folder / "hub" / MMLU)
    for place in places:
        if place.name.startswith("datasets--") and (place / "snapshots").is_dir():
            return _current(place)
    return None


def _current(repository: Path) -> Path | None:
    snapshots = [path for path in (repository / "snapshots").iterdir() if path.is_dir()]
    main = repository / "refs" / "main"
    named = main.read_text("utf-8").strip() if main.is_file() else ""
    return max(snapshots, key=lambda path: (path.name == named, path.stat().st_mtime), default=None)
