"""Calls into transformers and peft: without their chatter, and with their errors in one line."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def first_line(error: BaseException) -> str:
    """An error in one line: its first, which says what, and the next where that only begins; then comes advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1]) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, log lines or warnings while the block runs; errors still raise."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
