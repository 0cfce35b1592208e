"""The one exception that the roof itself raises for a user's mistake."""

from collections.abc import Iterable
from difflib import get_close_matches

from judges.address import hide_credentials


class HarnessError(Exception):
    """A mistake the user can mend. Its text is one line: what was wanted, what came, the way out."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> HarnessError:
    """An error that names the nearest of the known names; what may be a password in a URL is not repeated."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return HarnessError(f"unknown {kind} {hide_credentials(name) if '//' in name else name!r}: {hint}")
