"""May this judge be trusted, and for what: probes, people, the verdict."""

from collections.abc import Iterator
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.pictures.fitting import WIDTH
from harness.validation.results import DifferentialBias, Estimate, Flips, People, ProbeResult, Validation

_EXAMPLES = 3  # failures that `--full` shows of each probe


def validation_picture(found: Validation, *, full: bool = False) -> Group:
    """The picture; with `full` also on which items probes failed."""
    parts: list[RenderableType] = [
        Text(f" judge {found.judge}, {found.rubric}"),
        Text(f" {found.entries} entries of {found.data} · {found.asked} judgments"),
        "",
        probe_table(found.probes),
        *_lines(_under(found)),
    ]
    if full:
        parts += ["", *_lines(line for probe in found.probes for line in _examples(probe))]
    if found.people:
        parts += ["", *_people_parts(found.people, found.scale)]
    parts += ["", Text(f" {found.trust.words.upper()}", style="bold")]
    parts += _lines(line for reason in found.trust.reasons for line in _folded(f"· {reason}", indent="  "))
    return Group(*parts)


def _lines(texts: Iterator[str]) -> Iterator[Text]:
    for text in texts:
        yield Text(f" {text}")


def _folded(text: str, *, indent: str = "") -> list[str]:
    return wrap(text, WIDTH - 1, subsequent_indent=indent)


def _rows(titles: tuple[str, ...], rows: list[list[str]]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, title in enumerate(titles):
        made.add_column(title, justify="right" if place else "left", no_wrap=place > 0, overflow="fold")
    for row in rows:
        made.add_row(*map(escape, row))
    return made


def probe_table(probes: list[ProbeResult]) -> Table:
    """One row for each probe."""
    rows = [
        [
            f" {probe.wants}",
            f"{probe.passed}/{probe.n}",
            *_percent(probe.rate),
            str(sum(probe.unscored.values()) or ""),
        ]
        for probe in probes
    ]
    return _rows((" probe", "holds", "rate", "95 %", "unscored"), rows)


def _percent(rate: Estimate) -> list[str]:
    if rate.value is None or rate.low is None or rate.high is None:
        return ["–", ""]
    return [f"{100 * rate.value:.0f} %", f"{100 * rate.low:.0f}–{100 * rate.high:.0f}"]


def _under(found: Validation) -> Iterator[str]:
    reasons: dict[str, int] = {}
    for probe in found.probes:
        for why, n in probe.unscored.items():
            reasons[why] = reasons.get(why, 0) + n
    if reasons:
        yield from _folded(
            "unscored, neither holds nor fails: " + ", ".join(f"{n} {why}" for why, n in reasons.items())
        )
    if found.flips:
        yield from _folded(_flips(found.flips), indent="  ")
    by_reason: dict[str, list[str]] = {}
    for name, why in found.left_out.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items():
        yield from _folded(f"left out: {', '.join(names)}: {why}", indent="  ")


def _flips(flips: Flips) -> str:
    share = f"order changed the winner in {flips.flipped} of {flips.n} close pairs"
    if not flips.flipped:
        return share
    p = "<.001" if flips.p < 0.001 else f"{flips.p:.3f}".removeprefix("0")
    return f"{share}: {flips.to_first} to the first place, {flips.to_second} to the second (p {p})"


def _examples(probe: ProbeResult) -> Iterator[str]:
    if not probe.failures:
        return
    yield f"{probe.wants}: failed on"
    for failure in probe.failures[:_EXAMPLES]:
        scores = ", ".join(f"{name} {score:g}" for name, score in failure.scores.items())
        yield from _folded(f"  {failure.item_id}: {scores}", indent="    ")
    if len(probe.failures) > _EXAMPLES:
        yield f"  and {len(probe.failures) - _EXAMPLES} more: --json has them"


def _people_parts(people: People, scale: tuple[float, float]) -> Iterator[RenderableType]:
    who = f"{len(people.raters)} raters" if len(people.raters) > 1 else "one rater"
    yield Text(f" against people: {people.n} answers to {people.items} items, {who}")
    if people.missing:
        missing = ", ".join(f"{n} {why}" for why, n in people.missing.items())
        there = people.labels - sum(people.missing.values())
        judge = "; judge first" if "not judged yet" in people.missing else ""
        yield Text(f" {there} of {people.labels} labels have a verdict ({missing}){judge}")
    if any(own != scale for own in people.scales):
        own = " and ".join(f"{low:g}–{high:g}" for low, high in people.scales)
        yield Text(f" labels on {own}, judge on {scale[0]:g}–{scale[1]:g}: both mapped to the judge's scale")
    yield _rows((" ", "", "95 %"), [*_people_rows(people)])
    yield from _lines(_people_notes(people))


def _people_rows(people: People) -> Iterator[list[str]]:
    yield [" Spearman's rank correlation", *_number(people.spearman)]
    yield [" Kendall's tau-b", *_number(people.kendall)]
    yield [f" same category, of {people.parts}", *_percent(people.same)]
    yield [" Cohen's kappa, quadratic weights", *_number(people.kappa)]
    yield [" Krippendorff's alpha, judge and people", *_number(people.alpha)]
    if people.ceiling and people.ceiling_same:
        yield [" the same among people: the ceiling", *_number(people.ceiling)]
        yield [" same category among people", *_percent(people.ceiling_same)]
    yield [f" passes what people pass (at {people.pass_at:g})", *_percent(people.sensitivity)]
    yield [" fails what people fail", *_percent(people.specificity)]
    yield [" bias: judge minus people, points", *_points(people.bias)]
    for one in people.by_checkpoint:
        yield [f"   {one.checkpoint}, {one.n} answers", *_points(one.bias)]


def _number(estimate: Estimate) -> list[str]:
    if estimate.value is None:
        return ["–", ""]
    return [f"{estimate.value:.2f}", _ends(estimate, "{:.2f}")]


def _points(estimate: Estimate) -> list[str]:
    if estimate.value is None:
        return ["–", ""]
    return [f"{estimate.value:+.2f}", _ends(estimate, "{:+.2f}")]


def _ends(estimate: Estimate, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return "unknown"
    return f"{form.format(estimate.low)} to {form.format(estimate.high)}"


def _people_notes(people: People) -> Iterator[str]:
    if people.differential:
        yield from _folded(_differential(people.differential), indent="  ")
    if people.spearman.value is None:
        yield "– not defined: judge or people gave one score throughout"


def _differential(found: DifferentialBias) -> str:
    over = f", over {found.pairs} pairs" if found.pairs > 1 else ""
    between = f"between {found.one} and {found.other}"
    if found.difference.value is None:
        return f"largest difference of biases, {between}: not defined"
    ends = _ends(found.difference, "{:+.2f}")
    return f"largest difference of biases, {between}: {found.difference.value:+.2f} ({ends}{over})"
