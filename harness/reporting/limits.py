"""What limits the pick: what a reader has to know before believing the first sentence."""

from collections.abc import Iterator

from harness.findings import JUDGED, Report, Table
from harness.opinions.findings import Opinion
from harness.pictures.report import settle_lines
from harness.reporting.numbers import count, interval, number, signed
from harness.reporting.overlaps import leakage_of
from harness.reporting.paths import brief


def limits_of(report: Report) -> list[str]:
    """A sentence each, the heaviest first."""
    return [
        *_of_the_pick(report),
        *_of_the_judges(report),
        *leakage_of(report),
        *_of_the_tables(report),
        *_settled(report),
        *_left_out(report),
    ]


def _of_the_pick(report: Report) -> Iterator[str]:
    if report.pick and report.pick.picked_on == "test":
        yield "The pick and its score share the test items, so the score flatters it."
    elif report.pick:
        yield f"It was picked on {count(report.pick.n_deciding)} validation items and is reported on the test items."
    if report.looks > 1:
        yield f"These test items have been looked at {report.looks} times; each look makes a lucky pick likelier."


def _of_the_judges(report: Report) -> Iterator[str]:
    rules = [card.judge for card in report.cards if card.by_rule]
    if rules:
        yield f"Scored by rule ({', '.join(rules)}), not by a model or by people: it sees wording, not meaning."
    if report.headline and report.opinions is None and any(not card.by_rule for card in report.cards):
        yield "No person has checked the judge on these items."
    for card in report.cards:
        for warning in card.warnings:
            yield f"Beware of {card.judge}: {warning}."
    for one in report.opinions.differences if report.opinions else ():
        yield from _against_the_judge(one)


def _against_the_judge(one: Opinion) -> Iterator[str]:
    """A difference that people's labels change; what limits these labels stands beside the whole table."""
    line = one.checked
    if line is not None:
        by = "people's labels" if one.headline == "people" else "the judge corrected by people"
        ends = interval(line.low, line.high, 1, sign=True)
        yield (
            f"By {by} {one.checkpoint} minus {one.baseline} is {signed(line.estimate, 1)} ({ends}), where the judge "
            f"alone says {signed(one.judge.estimate, 1)}."
        )


def _of_the_tables(report: Report) -> Iterator[str]:
    for table in report.shown:
        if table.at_chance:
            yield f"{table.name} is at chance for every checkpoint and says nothing here."
        yield from _unscored(table)
    if report.headline and report.pick:  # the others stand below their tables
        yield from (f"{warning}." for warning in report.headline.warnings if report.pick.name in warning)


def _unscored(table: Table) -> Iterator[str]:
    """How many judgments are missing, why, and what they could move."""
    why: dict[str, int] = {}
    for row in table.rows:
        for reason, n in row.summary.n_unscored.items():
            why[reason] = why.get(reason, 0) + n
    if not why:
        return
    total = sum(why.values()) + sum(row.summary.n_scored for row in table.rows)
    moves = [
        abs(bound - row.summary.estimate)
        for row in table.rows
        if row.summary.bounds and row.summary.estimate is not None
        for bound in row.summary.bounds
    ]
    at_most = f"; they could move an estimate by at most {number(max(moves), table.decimals)}" if moves else ""
    reasons = ", ".join(f"{n} {reason}" for reason, n in why.items())
    yield f"{table.name}: {count(sum(why.values()))} of {count(total)} values are missing ({reasons}){at_most}."


def _settled(report: Report) -> Iterator[str]:
    for line in settle_lines(report.settle):
        yield f"{line[:1].upper()}{line[1:]}."


def _left_out(report: Report) -> Iterator[str]:
    for name, notes in report.notes.items():
        yield f"{brief(name, report.run)}: {'; '.join(notes)}."
    for name, why in report.skipped.items():
        yield f"Left out: {brief(name, report.run)}: {why}."
    if report.left_out:
        yield f"Not shown: {', '.join(report.left_out)}."


def subtitle(report: Report) -> str:
    """What the numbers rest on, in one line."""
    table = report.headline
    if table is None:
        names = [t.name for t in report.tables if t.role == "test" and t.kind not in JUDGED]
        return " · ".join(["no judged answers", *names])
    n = max((r.summary.n_scored + sum(r.summary.n_unscored.values()) for r in table.rows), default=0)
    judge, _, rubric = table.name.removeprefix("judge ").partition("+")
    said = [f"{count(n)} {table.role} items", f"judge {judge}, {rubric}" if rubric else f"judge {judge}"]
    said += [f"picked on {report.pick.picked_on} items"] if report.pick else []
    return " · ".join([*said, *([f"test items seen {report.looks}×"] if report.looks else [])])
