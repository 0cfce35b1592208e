"""The judge, people, and the judge corrected by people, as text."""

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from harness.opinions.findings import Headline, Line, Opinion, Opinions
from harness.opinions.headline import disagreement, headline_sentence
from harness.screen import visible

WIDTH = 80
NARROWEST_NAME = 8
WIDEST_NAME = 30  # longer ones are folded
_LEGEND = "r: correlation of judge and people · worth labels: so many alone tell as much"


def opinions_parts(shown: Opinions) -> Iterator[RenderableType]:
    """A table, which of its columns to go by, and what limits it."""
    who = visible(", ".join(shown.raters)) or "somebody"
    labels = f"{shown.labels} label{'s' if shown.labels != 1 else ''} by {who}"
    yield from _wrapped(f"people: {labels}, beside judge {visible(shown.judge)}")
    yield _table(shown)
    yield from _wrapped(f"▸ {visible(headline_sentence(shown))}")
    if apart := disagreement(shown):
        yield from _wrapped(visible(apart))
    if _corrects(shown):
        yield from _wrapped(_LEGEND)
    if shown.wins:
        yield from _wrapped("wins: percent of answers preferred, a tie being half")
    for note in shown.notes:
        yield from _wrapped(visible(note))


def _corrects(shown: Opinions) -> bool:
    return any(one.corrected for one in [*shown.scores, *shown.differences, *shown.wins])


def _table(shown: Opinions) -> RichTable:
    """Columns of the correction only where there is one."""
    titles = ["judge alone", "people", *(["corrected", "r", "worth\nlabels"] if _corrects(shown) else [])]
    sections = [("", shown.scores, _estimate), ("", shown.differences, _difference), ("wins % ", shown.wins, _estimate)]
    rows: list[list[str]] = []
    for title, some, cell in sections:
        if some and some[0].baseline:
            rows.append([f" {title}vs {visible(some[0].baseline)}"])
        rows += [_row(one, cell)[: len(titles) + 1] for one in some]
    roomy = _fits([["", *titles], *rows])
    made = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    made.add_column("", overflow="fold", min_width=NARROWEST_NAME)
    for title in titles:
        made.add_column(title, justify="right", no_wrap=True)
    for name, *cells in rows:
        shown_as = (text if roomy else text.replace(" ", "\n") for text in cells)
        made.add_row(Text(name, style="" if cells else "dim"), *shown_as)
    return made


def _fits(rows: Sequence[Sequence[str]]) -> bool:
    """Whether estimates and intervals have room side by side, and names beside them."""
    name, *widths = [
        max(cell_len(line) for text in column for line in text.split("\n"))
        for column in zip_longest(*rows, fillvalue="")
    ]
    return min(name, WIDEST_NAME) + sum(width + 1 for width in widths) <= WIDTH


def _row(one: Opinion, cell: Callable[[Line], str]) -> list[str]:
    lines: dict[Headline, Line | None] = {"judge": one.judge, "people": one.people, "corrected": one.corrected}
    cells = [_marked(cell(line) if line else "–", name == one.headline) for name, line in lines.items()]
    worth = "–" if one.corrected is None else f"{one.corrected.n:.0f}"
    return [f" {visible(one.checkpoint)}", *cells, "–" if one.r is None else f"{one.r:.2f}", worth]


def _marked(text: str, headline: bool) -> str:
    return f"▸{text}" if headline else text


def _estimate(line: Line) -> str:
    return f"{line.estimate:.1f} {line.low:.1f}–{line.high:.1f}"


def _difference(line: Line) -> str:
    return f"{line.estimate:+.1f} ±{(line.high - line.low) / 2:.1f}"


def _wrapped(line: str) -> Iterator[Text]:
    for more in wrap(line, WIDTH - 1, subsequent_indent="  ", break_on_hyphens=False):
        yield Text(f" {more}")
