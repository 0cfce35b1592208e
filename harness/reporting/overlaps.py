"""Training data beside the test items: what of these is in there, and what the scores are without."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.findings import Report
from harness.overlap.findings import Found, Overlap
from harness.pictures.overlap import MOST, clean_sentences, overlap_sentence, says_something
from harness.pictures.report import listed
from harness.reporting.grids import Cell, Grid, Line
from harness.reporting.numbers import count, digits_of, ends_of, interval, number, signed
from harness.reporting.paths import brief, dataset_name

MOST_FOUND = 100  # items that are listed


@dataclass(frozen=True)
class Search:
    """One data set looked for in one training file.

    Attributes:
        lines: What was looked for and found, a sentence each.
        grids: The scores with and without, for each table on this data.
        found: Items found.
    """

    lines: list[str]
    grids: list[Grid]
    found: list[Found]


def overlaps_shown(report: Report) -> list[Overlap]:
    """With training files named as in a page that is passed on."""
    return [
        one if one.source == "remembered" else one.model_copy(update={"train": brief(one.train, report.run)})
        for one in report.overlaps
    ]


def searches_of(report: Report) -> list[Search]:
    """Where there is more to say than that nothing was found; each file and data set once."""
    telling = [one for one in overlaps_shown(report) if says_something(one)]
    groups = groupby(telling, key=lambda one: (one.train, one.dataset, one.source))
    return [_search([*group]) for _, group in groups]


def clean_of(report: Report) -> list[str]:
    """A sentence for all data sets of which nothing was found in the same training data."""
    return [_sentence(line.removeprefix("overlap: ")) for line in clean_sentences(overlaps_shown(report))]


def leakage_of(report: Report) -> Iterator[str]:
    """What checkpoints remember and what searches found, together."""
    leaked = {name: n for name, n in report.leaked.items() if n}
    headline = report.headline
    role = headline.role if headline else "test"
    for n in dict.fromkeys(leaked.values()):
        names = [name for name, own in leaked.items() if own == n]
        items = f"{count(n)} {role} item{' is' if n == 1 else 's are'}"
        yield f"{items} among the entries that {listed(names)} {'was' if len(names) == 1 else 'were'} trained on."
    telling = [one for one in overlaps_shown(report) if one.found]
    for one in telling:
        if one.source == "remembered" and (headline is None or one.dataset != headline.dataset):
            yield _of_remembered(one)
    if found := [*_found_in(one for one in telling if one.source != "remembered")]:
        yield f"{'; '.join(found)}{_remembered(report, leaked)}."
    elif headline and not report.leaked:
        yield f"Whether {role} items were trained on is not known: no checkpoint here remembers its training data."
    elif report.leaked and not leaked:
        yield f"No {role} item is among the entries trained on, as far as the checkpoints remember them."


def _remembered(report: Report, leaked: dict[str, int]) -> str:
    """How what was found goes with what checkpoints remember; nothing where that has been said."""
    if report.headline is None or leaked:
        return ""
    if not report.leaked:
        return ". Whether a checkpoint was trained on these is not known: none here remembers its training data"
    return ". The checkpoints remember other entries as trained on, none of these"


def _of_remembered(one: Overlap) -> str:
    return _sentence(overlap_sentence(one).removeprefix("overlap: "))


def _found_in(overlaps: Iterator[Overlap]) -> Iterator[str]:
    """A phrase for each data set: how many of its items occur where."""
    by_data: dict[str, dict[str, Overlap]] = {}
    for one in overlaps:
        by_data.setdefault(one.dataset, {}).setdefault(one.train, one)
    for dataset, places in by_data.items():
        first, *more = [f"{count(o.exact + o.near)} of {count(o.items)}" for o in places.values()]
        here, *there = [f"{train} ({_kinds(one)})" for train, one in places.items()]
        others = "".join(f", {n} in {where}" for n, where in zip(more, there, strict=True))
        yield f"{first} items of {dataset_name(dataset)} occur in {here}{others}"


def _kinds(one: Overlap) -> str:
    return "all word for word" if not one.near else f"{count(one.exact)} word for word"


def _search(tables: Sequence[Overlap]) -> Search:
    grids = [grid for grid in map(overlap_grid, tables) if grid is not None]
    return Search([*_lines(tables[0], any_left=bool(grids))], grids, tables[0].found[:MOST_FOUND])


def _lines(overlap: Overlap, *, any_left: bool) -> Iterator[str]:
    """What was looked for and what was found."""
    if overlap.source == "remembered":
        yield _of_remembered(overlap)
        return
    near = f", {count(overlap.near)} more share at least {overlap.threshold:.0%} of it with one training entry"
    of = f" of {count(overlap.entries)} entries" if overlap.entries else ""
    yield (
        f"{dataset_name(overlap.dataset)} in {overlap.train}{of}: {count(overlap.items)} items looked for; "
        f"{count(overlap.exact)} are in there whole{near if overlap.near else ''}."
    )
    if overlap.textless:
        yield f"{count(overlap.textless)} items could not be looked for, since the run keeps no question of theirs."
    if overlap.note:
        yield _sentence(overlap.note)
    answered = sum(found.with_answer for found in overlap.found)
    if answered:
        yield f"{count(answered)} of them are in there with the expected answer."
    if overlap.items and len(overlap.found) >= MOST * overlap.items:
        yield (
            "That is nearly all of it: if the test set was split from this file, what was trained on is what to look "
            "through instead (checkpoints made here have it in splits/train.json)."
        )
    if overlap.scores and not any_left:
        yield "No item is left without these, so there is no score without them."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def overlap_grid(overlap: Overlap) -> Grid | None:
    """Each score on all items, and on those that do not occur in the training data; None where none is left."""
    if not any(score.clean is not None for score in overlap.scores):
        return None
    digits = digits_of(score.all_items for score in overlap.scores)
    compared = any(score.difference is not None for score in overlap.scores)
    minus = [f"minus {overlap.baseline}, 95 % interval"] if compared else []
    return Grid(
        caption=f"{overlap.table}: {overlap.metric} with and without what occurs in {overlap.train}",
        head=["checkpoint", "all items", "without overlap, 95 % interval", *minus, "items", "items left"],
        lines=[
            Line(
                score.checkpoint,
                [
                    Cell(number(score.all_items, digits)),
                    Cell(number(score.clean, digits), ends=ends_of(score.clean, score.low, score.high, digits)),
                    *([_difference(score.difference, score.difference_low, score.difference_high, digits)] * compared),
                    Cell(count(score.n)),
                    Cell(count(score.n_clean)),
                ],
            )
            for score in overlap.scores
        ],
    )


def _difference(difference: float | None, low: float | None, high: float | None, digits: int) -> Cell:
    ends = "" if difference is None else interval(low, high, digits)
    return Cell(signed(difference, digits), ends=ends)
