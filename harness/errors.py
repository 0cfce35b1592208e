"""What the roof itself raises for a user's mistake."""

from collections.abc import Iterable
from difflib import get_close_matches

from judges.address import hide_credentials

MOST = 12  # names listed where none is near: a user's folder may hold hundreds


class HarnessError(Exception):
    """A mistake the user can mend. Its text is one line: what was wanted, what came, the way out."""


class CheckpointError(HarnessError):
    """One checkpoint cannot be used; others may."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> HarnessError:
    """An error that names the nearest of the known names; what may be a password in a URL is not repeated."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    known_ones = ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {known_ones or 'none'}"
    return HarnessError(f"unknown {kind} {hide_credentials(name) if '//' in name else name!r}: {hint}")
