"""What a reviewer sees: the question, the answers without whose they are, and the keys."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.text import Text

from harness.review.keys import Keys
from harness.review.session import Did, Question
from harness.screen import visible

WIDTH = 80
MOST = 20_000  # characters of a text that are shown
_NARROWEST = 20

HELP = {
    "s": "skip: another time, or never",
    "u": "undo: take back the last one, be it of an earlier session",
    "n": "note: a line that is kept beside the next label",
    "q": "quit: what was said is kept, the same command goes on here",
    "?": "this",
}


def question_picture(question: Question, place: int, total: int, *, width: int = WIDTH) -> Constrain:
    """What was asked, what was expected, and one answer or two.

    Args:
        question: What to show.
        place: Its number, from 1.
        total: Of how many.
        width: Columns there are.
    """
    columns = max(_NARROWEST, min(width, WIDTH)) - 1
    parts: list[RenderableType] = [Text("─" * columns, style="dim"), Text(f"{place} of {total}", style="bold")]
    parts += _block("", question.instruction, columns)
    if question.expected:
        parts += _block("expected", question.expected, columns)
    names = ["answer"] if len(question.answers) == 1 else ["A", "B"]
    for name, answer in zip(names, question.answers, strict=True):
        parts += _block(name, answer.text if answer.text.strip() else "(empty)", columns)
    return Constrain(Group(*parts, ""), columns + 1)


def keys_line(keys: Keys) -> Text:
    """Which keys there are."""
    return Text(keys.line, style="dim")


def help_picture(keys: Keys) -> Group:
    """What each key does."""
    said = [f"{key}  {_meaning(key, score, keys)}" for key, score in keys.scores.items()]
    return Group(*(Text(line) for line in [*said, *(f"{key}  {what}" for key, what in HELP.items())]))


def answered_line(did: Did, key: str, keys: Keys, place: int) -> Text:
    """What a key has done.

    Args:
        did: That.
        key: Which.
        keys: What they mean.
        place: Number of the question it was about, from 1: the next one may be on the screen already.
    """
    if did == "labelled":
        return Text(f"{place} → {_meaning(key.lower(), keys.scores[key.lower()], keys)}")
    if did == "skipped":
        return Text(f"{place} → skipped")
    if did == "unknown":
        return Text(f"{visible(key) or 'that'}: no key of these; ? tells what they do", style="yellow")
    return Text("→ undone: this one again" if did == "undone" else f"→ {did}")


def _meaning(key: str, score: float, keys: Keys) -> str:
    if keys.pairs:
        return "tie" if key == "t" else f"{key.upper()} is better"
    ends = {keys.scale[0]: " (worst)", keys.scale[1]: " (best)"}
    return f"{score:g}{ends.get(score, '')}"


def _block(name: str, text: str, columns: int) -> Iterator[RenderableType]:
    over = len(text) - MOST
    whole = visible(text.strip("\n").expandtabs(4) if over <= 0 else f"{text[:MOST]}\n... {over} characters left out")
    yield ""
    if name:
        yield Text(name, style="bold")
    yield Padding(Text(whole, overflow="fold"), (0, 0, 0, 1), expand=False)
