"""Which checkpoint the others are compared with."""

from collections.abc import Sequence

from harness.errors import HarnessError, unknown_name
from harness.naming import as_recorded, choose_checkpoints, display_names
from harness.records import CheckpointRecord
from harness.store import RunFile


def usual_baseline(checkpoints: Sequence[CheckpointRecord]) -> CheckpointRecord:
    """What others were trained from; else what is called base; else the first."""
    bases = {c.base_fingerprint for c in checkpoints}
    called = [c for c in checkpoints if c.fingerprint in bases] + [c for c in checkpoints if c.name == "base"]
    return (called or list(checkpoints))[0]


def baseline_in(recorded: RunFile, wanted: str) -> CheckpointRecord:
    """The checkpoint to compare with.

    Raises:
        HarnessError: If the run does not know it, or the name stands for several.
    """
    everything = choose_checkpoints(recorded, ())
    names = display_names(everything)
    known = as_recorded(recorded, wanted)
    try:
        found = choose_checkpoints(recorded, known)
    except HarnessError:
        raise unknown_name("baseline", wanted, names.values()) from None
    if len(found) > 1:
        several = ", ".join(names[c.slug] for c in found)
        raise HarnessError(f"--baseline {wanted}: wanted one checkpoint, found {several}; name one of them")
    return found[0]
