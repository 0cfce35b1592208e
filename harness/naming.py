"""The checkpoints of a run by the names a user gives them, and the names that tables show."""

from collections.abc import Sequence
from pathlib import Path

from harness.checkpoints import parse_reference, resolve
from harness.errors import HarnessError, unknown_name
from harness.expansion import flaw, steps_in
from harness.records import CheckpointRecord
from harness.screen import visible
from harness.store import RunFile


def choose_checkpoints(recorded: RunFile, wanted: Sequence[str]) -> list[CheckpointRecord]:
    """The checkpoints to compare, in training order: all, or those whose name, slug or reference is wanted.

    Raises:
        HarnessError: If one is wanted that the run does not know; names the nearest.
    """
    known = list(recorded.checkpoints.values())
    if wanted:
        known = [c for c in known if any(_is_called(c, name) for name in wanted)]
        for name in wanted:
            if not any(_is_called(c, name) for c in known):
                names = {c.name for c in recorded.checkpoints.values()}
                raise unknown_name("checkpoint in this run", name, names)
    return _in_training_order(known)


def _is_called(checkpoint: CheckpointRecord, name: str) -> bool:
    """By name, as tables show it too, or slug; by path, or by a folder that it lies in; by fingerprint."""
    plain = name.rstrip("/")
    called = (checkpoint.name, shown_name(checkpoint), checkpoint.slug, checkpoint.reference.rstrip("/"))
    return plain in (*called, checkpoint.fingerprint) or checkpoint.reference.startswith(f"{plain}/")


def shown_name(checkpoint: CheckpointRecord) -> str:
    """The name with some of the fingerprint, for tables in which two checkpoints share a name."""
    return f"{checkpoint.name}·{checkpoint.fingerprint[:4]}"


def as_recorded(recorded: RunFile, text: str) -> list[str]:
    """A name as the user writes it, as names that the run knows its checkpoints by.

    The same folder may have been called otherwise when it was recorded: from another working directory, through
    a link, under an alias.

    Raises:
        HarnessError: If it is no reference.
    """
    reference = parse_reference(text)
    known = recorded.checkpoints.values()
    for name in (text, reference.text):
        if any(_is_called(c, name) for c in known):
            return [name]
    if reference.scheme != "path" or not Path(reference.target).is_dir():
        return [text]
    if (Path(reference.target) / "run.json").exists():
        raise HarnessError(f"{text} is a run, not a checkpoint; name it with --run {text}")
    there = {c.fingerprint for c in known}
    steps = [str(step) for step in steps_in(Path(reference.target)) if flaw(step) is None]
    return [t.record.fingerprint for t in resolve([text, *steps]) if t.record.fingerprint in there] or [text]


def _in_training_order(checkpoints: list[CheckpointRecord]) -> list[CheckpointRecord]:
    """Each base before what was trained from it, in step order; otherwise as recorded."""
    bases = {c.base_fingerprint for c in checkpoints}
    place = {c.fingerprint: n for n, c in enumerate(checkpoints)}

    def order(c: CheckpointRecord) -> tuple[int, int, int]:
        family = place.get(c.base_fingerprint or "", place[c.fingerprint])
        return (family, 0 if c.fingerprint in bases else 1, c.step or 0)

    return sorted(checkpoints, key=order)


def display_names(checkpoints: Sequence[CheckpointRecord]) -> dict[str, str]:
    """A name for each slug; where two checkpoints share one, with some of the fingerprint behind it."""
    names = [c.name for c in checkpoints]
    return {c.slug: legible(c.name if names.count(c.name) == 1 else shown_name(c)) for c in checkpoints}


def legible(name: str) -> str:
    """A name in one line, with what would move a terminal's cursor spelt out."""
    return visible(name).replace("\n", "\\n")
