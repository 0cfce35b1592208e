"""`ift-eval review`: the real command, in lines and at a real (pseudo-)terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from harness.review.labels import kept_labels
from harness.store import Run
from harness.validation.labels import read_labels
from tests.command_line import command, in_process, surroundings
from tests.reviewed_runs import answered, data_of, reviewed

LONGEST = 60.0  # seconds for anything to appear


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return reviewed(tmp_path / "run")


def with_lines(run: Run, lines: Sequence[str], *words: str | int, **more: str) -> subprocess.CompletedProcess[str]:
    """The command with lines on its standard input."""
    return subprocess.run(
        command("review", *words, "--run", run.folder),
        input="".join(f"{line}\n" for line in lines),
        env=surroundings(**more),
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


class Terminal:
    """A command at a pseudo-terminal of its own: what it shows, and keys pressed."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]):
        self._end, theirs = pty.openpty()
        self.process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environment), start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def until(self, pattern: str) -> str:
        """Read until something is shown that was not shown before; all that came up to it."""
        deadline, start = time.monotonic() + LONGEST, len(self.shown)
        while not (found := re.search(pattern, self.shown[start:])):
            ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} was not shown: {self.shown[start:]!r}"
            try:
                self.shown += os.read(self._end, 65536).decode()
            except OSError:  # Linux says so where the other side is closed
                raise AssertionError(f"ended before {pattern!r}: {self.shown[start:]!r}") from None
        self.shown = self.shown[: start + found.end()] + (rest := self.shown[start + found.end() :])
        del rest
        return self.shown[start : start + found.end()]

    def press(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def ended(self) -> int:
        return self.process.wait(timeout=LONGEST)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._end)


@pytest.fixture
def at_terminal(run: Run) -> Iterator[object]:
    opened: list[Terminal] = []

    def start(*words: str | int) -> Terminal:
        environment = surroundings(TERM="xterm", COLUMNS="80", LINES="50")
        opened.append(Terminal(command("review", *words, "--run", run.folder), environment))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()
