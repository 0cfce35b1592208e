"""Names of data sets and files as a page shows them that is passed on: no folders of whoever made it."""

import re
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

_BEFORE = re.compile(r"(?:[\w.-]+=)?(?:scripted:)?")  # an alias and a scheme that stand before a path


def dataset_name(label: str) -> str:
    """A data set without the hash of its content."""
    return label.rpartition("-")[0] or label


def brief(text: str, run: str | Path) -> str:
    """A reference or a file: from the folder that holds the run, or its last two parts. Relative paths are as they are.

    Args:
        text: What may be an absolute path, with an alias or `scripted:` before it; several with ", " between them.
        run: Folder of the run.
    """
    return ", ".join(_brief(part, Path(run).absolute().parent) for part in text.split(", "))


def _brief(text: str, home: Path) -> str:
    for start in (0, _BEFORE.match(text).end()):  # type: ignore[union-attr]  # it matches nothing too
        path = _absolute(text[start:])
        if path is not None:
            return text[:start] + _shortened(path, home)
    return text


def _absolute(text: str) -> PurePath | None:
    if text.startswith(("/", "~/")):
        return PurePosixPath(text)
    windows = PureWindowsPath(text)
    return windows if windows.drive and windows.root else None


def _shortened(path: PurePath, home: Path) -> str:
    if isinstance(path, PurePosixPath) and path.is_relative_to(home.as_posix()):
        return path.relative_to(home.as_posix()).as_posix()
    named = [part for part in path.parts if part != path.anchor]
    return "/".join(named[-2:])
