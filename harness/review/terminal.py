"""Asking a person at a terminal: one key at a time, or a line at a time where standard input is no terminal."""

import sys
from collections.abc import Callable
from typing import TextIO

from harness.pictures.review import answered_line, help_picture, keys_line, question_picture
from harness.review.keys import COMMANDS
from harness.review.session import Session
from harness.screen import Screen

ESCAPE = "\x1b"

Read = Callable[[], str | None]  # a key; None when there is nothing more to read


def review(session: Session, screen: Screen, *, key: Read, line: Read) -> int:
    """Ask until nothing is left, the person quits, or input ends; how many keys were read.

    At a terminal each question has the screen to itself, below a line that says what was made of the one before.

    Args:
        session: What is asked.
        screen: Where it is shown.
        key: Reads a key.
        line: Reads a line, for notes.
    """
    shown, read = None, 0
    while (question := session.current) is not None:
        if question is not shown:
            screen.show(question_picture(question, session.place, len(session.questions), width=screen.width))
            screen.show(keys_line(session.keys))
            shown = question
        place, pressed = session.place, key()
        if pressed is None:
            break
        read += 1
        did = session.press(pressed)
        if did == "note":
            _take_note(session, screen, line)
        elif did == "help":
            screen.show(help_picture(session.keys))
        else:
            if session.current not in (question, None):
                (screen.err if screen.json else screen.out).clear()  # nothing where it is no terminal
            screen.show(answered_line(did, pressed, session.keys, place))
    return read


def _take_note(session: Session, screen: Screen, line: Read) -> None:
    screen.show("note (a line; empty for none):")
    note = (line() or "").strip()
    session.write(note)
    screen.show(f"noted, to be kept with the answer: {note}" if note else "no note")
    screen.show(keys_line(session.keys))


def readers(stdin: TextIO | None = None) -> tuple[Read, Read]:
    """How to read a key, and a line, from standard input."""
    source = stdin or sys.stdin

    def line() -> str | None:
        text = source.readline()
        return text.rstrip("\r\n") if text else None

    def word() -> str | None:
        """The first line that holds something, and of that the first character."""
        while (text := line()) is not None:
            if text.strip():
                return text.strip()[0] if text.strip().lower() not in COMMANDS.values() else _key_of(text)
        return None

    return (_pressed if source.isatty() else word), line


def _key_of(command: str) -> str:
    """A command that is written out, such as undo, as its key."""
    return next(key for key, name in COMMANDS.items() if name == command.strip().lower())


def _pressed() -> str | None:
    """One key. A key that sends several characters (an arrow) is none of ours, and of what is pasted the first counts.

    Raises:
        KeyboardInterrupt: For Ctrl-C.
    """
    from typer import getchar

    try:
        characters = getchar()
    except EOFError:  # Ctrl-D
        return None
    return ESCAPE if characters.startswith(ESCAPE) else characters[:1]
