"""The judge, people, and the judge corrected by people, as text."""

from collections.abc import Callable, Iterator
from textwrap import wrap

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.opinions.findings import Headline, Line, Opinion, Opinions
from harness.screen import visible

WIDTH = 80
NARROWEST_NAME = 8
_HEADLINES: dict[Headline, str] = {
    "judge": "the judge alone",
    "people": "people alone",
    "corrected": "the judge corrected by people",
}


def opinions_parts(shown: Opinions) -> Iterator[RenderableType]:
    """A table, which of its columns to go by, and what limits it."""
    who = visible(", ".join(shown.raters)) or "somebody"
    labels = f"{shown.labels} label{'s' if shown.labels != 1 else ''} by {who}"
    yield from _wrapped(f"people: {labels}, beside judge {visible(shown.judge)}")
    yield _table(shown)
    yield from _wrapped(headline_sentence(shown))
    if any(one.corrected for one in [*shown.scores, *shown.differences, *shown.wins]):
        yield from _wrapped("corrected: PPI++; r: judge with people; worth: labels that would be needed without judge")
    if shown.wins:
        yield from _wrapped("wins: percent of answers preferred, a tie being half")
    for note in shown.notes:
        yield from _wrapped(visible(note))


def headline_sentence(shown: Opinions) -> str:
    """Which numbers to go by: of all, or of each."""
    named = [(one, visible(one.checkpoint)) for one in shown.scores]
    named += [(one, visible(f"{one.checkpoint} vs {one.baseline}")) for one in shown.differences]
    named += [(one, visible(f"{one.checkpoint}'s wins")) for one in shown.wins]
    by: dict[Headline, list[str]] = {}
    for one, name in named:
        by.setdefault(one.headline, []).append(name)
    if len(by) == 1:
        return f"▸ go by {_HEADLINES[named[0][0].headline]}"
    return "▸ go by " + "; ".join(f"{_HEADLINES[line]} ({', '.join(names)})" for line, names in by.items())


def _table(shown: Opinions) -> RichTable:
    sections = [("", shown.scores, _estimate), ("", shown.differences, _difference), ("wins % ", shown.wins, _estimate)]
    made = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    rows = [_row(one, cell) for _, some, cell in sections for one in some]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[1:]]
    roomy = NARROWEST_NAME + sum(width + 1 for width in widths) <= WIDTH
    made.add_column("", overflow="fold", min_width=NARROWEST_NAME)
    for title in ("judge alone", "people", "corrected", "r", "worth"):
        made.add_column(title, justify="right", no_wrap=True)
    for title, some, cell in sections:
        if some and some[0].baseline:
            made.add_row(Text(f" {title}vs {visible(some[0].baseline)}", style="dim"))
        for one in some:
            name, *cells = _row(one, cell)
            made.add_row(escape(name), *(text if roomy else text.replace(" ", "\n") for text in cells))
    return made


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
    for more in wrap(line, WIDTH - 1, subsequent_indent="  "):
        yield Text(f" {more}")
