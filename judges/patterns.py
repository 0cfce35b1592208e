"""Regular expressions of users, which may never end: searched with a time limit."""

import warnings
from functools import lru_cache
from typing import Any

SECONDS = 1.0


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Any:
    """A pattern, in Python's own syntax and what `regex` adds to it.

    Raises:
        ValueError: It is none; says where.
    """
    import regex  # type: ignore[import-untyped]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constructs that may mean something else one day
            return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {pattern[:80]!r} ({error})") from None


def found_in(text: str, pattern: str, *, seconds: float = SECONDS) -> bool:
    """Whether a pattern matches anywhere.

    Raises:
        TimeoutError: It takes longer than so many seconds.
        ValueError: It is no pattern.
    """
    return compile_pattern(pattern).search(text, timeout=seconds) is not None
