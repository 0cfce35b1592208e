"""The exact prompt of one item, shown before a checkpoint is first asked, so that a wrong template is seen in time."""

from collections.abc import Callable

from harness.screen import Screen, visible

LINES = 40  # a longer prompt loses its middle
LINE = 2000  # characters of a line, the same


def shower(screen: Screen, name: str, what: str = "prompt") -> Callable[[str], None]:
    """What shows a checkpoint's first prompt of a kind, and no further one of this command; `--quiet` shows none."""
    header = f"{name}, the first {what} as it is sent:"

    def show(prompt: str) -> None:
        if header not in screen.said:
            screen.said.add(header)
            shown = framed(prompt)
            if shown in screen.said:
                screen.say(f"{name}: its first {what} is the same")
                return
            screen.say(f"{header}\n{shown}")
            screen.said.add(shown)

    return show


def framed(prompt: str) -> str:
    """A prompt line by line behind a bar, so that spaces show at both ends; what cannot be seen is spelt out.

    Of a prompt over 40 lines the first and last 20 are shown, and what is left out is counted.
    """
    lines = prompt.split("\n")
    left_out = len(lines) - LINES
    head = lines if left_out <= 0 else lines[: LINES // 2]
    tail = [] if left_out <= 0 else lines[-(LINES // 2) :]
    middle = [f"  ... {left_out} lines left out ..."] if left_out > 0 else []
    return "\n".join([*map(_line, head), *middle, *map(_line, tail)])


def _line(text: str) -> str:
    over = len(text) - LINE
    if over > 0:
        text = f"{text[: LINE // 2]} ... {over} characters left out ... {text[-(LINE // 2) :]}"
    return f"  | {visible(text)}"
