"""The judge, people, and the judge corrected by people, as text."""

from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from harness.opinions.findings import Headline, Line, Opinion, Opinions
from harness.screen import visible

WIDTH = 80
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
    rows = [*shown.scores, *shown.differences, *shown.wins]
    yield _table(shown)
    yield from _wrapped(headline_sentence(rows))
    if any(one.corrected for one in rows):
        yield from _wrapped("corrected: PPI++; r: judge with people; worth: labels that would be needed without judge")
    if shown.wins:
        yield from _wrapped("wins: percent of answers preferred, a tie being half")
    for note in shown.notes:
        yield from _wrapped(visible(note))


def headline_sentence(rows: Sequence[Opinion]) -> str:
    """Which numbers to go by: of all, or of each."""
    by: dict[Headline, list[str]] = {}
    for one in rows:
        by.setdefault(one.headline, []).append(_name(one))
    if len(by) == 1:
        return f"▸ go by {_HEADLINES[rows[0].headline]}"
    return "▸ go by " + "; ".join(f"{_HEADLINES[line]} ({', '.join(names)})" for line, names in by.items())


def _table(shown: Opinions) -> RichTable:
    made = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    made.add_column("", overflow="fold", min_width=8)
    for title in ("judge alone", "people", "corrected", "r", "worth"):
        made.add_column(title, justify="right", no_wrap=True)
    for one in shown.scores:
        made.add_row(*_row(one, _estimate))
    for title, rows, cell in (("", shown.differences, _difference), ("wins % ", shown.wins, _estimate)):
        for place, one in enumerate(rows):
            if place == 0:
                made.add_row(Text(f" {title}vs {visible(one.baseline or '')}", style="dim"))
            made.add_row(*_row(one, cell))
    return made


def _row(one: Opinion, cell: Callable[[Line], str]) -> list[str]:
    lines: dict[Headline, Line | None] = {"judge": one.judge, "people": one.people, "corrected": one.corrected}
    cells = [_marked(cell(line) if line else "–", name == one.headline) for name, line in lines.items()]
    worth = "–" if one.corrected is None else f"{one.corrected.n:.0f}"
    return [escape(f" {visible(one.checkpoint)}"), *cells, "–" if one.r is None else f"{one.r:.2f}", worth]


def _marked(text: str, headline: bool) -> str:
    return f"▸{text}" if headline else text


def _estimate(line: Line) -> str:
    return f"{line.estimate:.1f} {line.low:.1f}–{line.high:.1f}"


def _difference(line: Line) -> str:
    return f"{line.estimate:+.1f} ±{(line.high - line.low) / 2:.1f}"


def _name(one: Opinion) -> str:
    return visible(f"{one.checkpoint} vs {one.baseline}" if one.baseline else one.checkpoint)


def _wrapped(line: str) -> Iterator[Text]:
    for more in wrap(line, WIDTH - 1, subsequent_indent="  "):
        yield Text(f" {more}")
