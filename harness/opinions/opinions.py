"""What people's labels do to a judged table: of each checkpoint, and of each against the baseline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.comparing.scores import EXPECTED, Family
from harness.comparing.side_by_side import summarise
from harness.opinions.findings import Line, Opinion, Opinions
from harness.opinions.lines import FEWEST, Design, Scale, Values, judge_line, lines_of
from harness.opinions.said import Said, preferred, said_of
from harness.records import CheckpointRecord
from harness.store import Run

WINS: Scale = (0.0, 100.0)


def opinions_of(
    run: Run, family: Family, names: Mapping[str, str], baseline: CheckpointRecord | None = None
) -> Opinions | None:
    """The judge alone, people alone, and the judge corrected by people; None where nobody labelled these answers.

    People's scores are mapped to the judge's scale, end to end. The judge's line rests on all items it scored, people's
    on the items they labelled (weighted as they were drawn), and the corrected one on both: PPI++ over the sample's
    strata (`harness.stats.ppi`).

    Args:
        run: Which may hold labels.
        family: A judge's.
        names: What tables call checkpoints, by slug.
        baseline: What the others are compared with; the first of the table where it is None or not in it.

    Raises:
        HarnessError: If labels cannot be read.
    """
    said = said_of(run, family)
    if said is None or not said.labels:
        return None
    table = _Table(family, said, names, _baseline(family, baseline))
    scores, differences, wins = [*table.scores()], [*table.differences()], [*table.wins()]
    made = [*scores, *differences, *wins]
    return (
        Opinions(
            judge=family.name.removeprefix("judge "),
            raters=[*said.raters],
            labels=said.labels,
            scale=family.scale or WINS,
            scores=scores,
            differences=differences,
            wins=wins,
            notes=[*_notes(said, family)],
        )
        if made
        else None
    )


def _baseline(family: Family, wanted: CheckpointRecord | None) -> str:
    """Slug: of what pairs were compared with, else of the baseline wanted, else of the first."""
    anchors = [s.checkpoint.slug for s in family.scores if s.anchor]
    there = [s.checkpoint.slug for s in family.scores]
    if anchors or wanted is None or wanted.slug not in there:
        return (anchors or there)[0]
    return wanted.slug


@dataclass(frozen=True)
class _Table:
    """A judge's table, and what people said of its checkpoints."""

    family: Family
    said: Said
    names: Mapping[str, str]
    base: str

    @property
    def _scale(self) -> Scale:
        return self.family.scale or WINS

    @property
    def _scored(self) -> dict[str, Values]:
        """The judge's scores by slug, where it scores single answers."""
        return {s.checkpoint.slug: s.values for s in self.family.scores} if self.family.kind == "judge" else {}

    def scores(self) -> Iterator[Opinion]:
        """Of each checkpoint that somebody scored."""
        for scores in self.family.scores if self._scored else ():
            slug = scores.checkpoint.slug
            found = summarise(scores, self.family, self.names[slug])
            if slug in self.said.scores and found.estimate is not None:
                assert found.low is not None
                assert found.high is not None
                line = Line(estimate=found.estimate, low=found.low, high=found.high, n=found.n_scored)
                yield self._opinion(slug, None, line, scores.values, self._people(slug), self._scale)

    def differences(self) -> Iterator[Opinion]:
        """Of each to the baseline, on the items that both have."""
        low, high = self._scale
        scored, width = self._scored, high - low
        for slug in scored:
            if slug != self.base and {slug, self.base} <= {*self.said.scores}:
                judge = _minus(scored[slug], scored[self.base])
                people = _minus(self._people(slug), self._people(self.base))
                yield from self._against_base(slug, judge, people, (-width, width))

    def wins(self) -> Iterator[Opinion]:
        """How often each is preferred to the baseline, where two answers were judged or labelled."""
        compared = self.family.kind == "preference"
        for scores in self.family.scores:
            slug = scores.checkpoint.slug
            labelled = {(slug, self.base), (self.base, slug)} & {*self.said.wins}
            if slug != self.base and EXPECTED not in (slug, self.base) and (compared or labelled):
                judge = scores.values if compared else _percent(preferred(scores.values, self._scored[self.base]))
                yield from self._against_base(slug, judge, _percent(self.said.win(slug, self.base)), WINS)

    def _against_base(self, slug: str, judge: Values, people: Values, scale: Scale) -> Iterator[Opinion]:
        """Nothing where nobody labelled both, or the judge has too little."""
        if people and len(judge) >= FEWEST:
            yield self._opinion(slug, self.base, judge_line(judge, scale), judge, people, scale)

    def _opinion(self, slug: str, base: str | None, line: Line, judge: Values, people: Values, scale: Scale) -> Opinion:
        found = lines_of(judge, people, Design(self.said.strata, self.said.drawn), scale)
        return Opinion(
            checkpoint=self.names[slug],
            baseline=self.names[base] if base else None,
            judge=line,
            people=found.people,
            corrected=found.corrected,
            r=found.r,
            weight=found.weight,
            headline=found.headline,
            items=found.items,
        )

    def _people(self, slug: str) -> Values:
        """On the judge's scale."""
        low, high = self._scale
        return {item: low + unit * (high - low) for item, unit in self.said.scores[slug].items()}


def _minus(one: Values, other: Values) -> Values:
    return {item: one[item] - other[item] for item in one if item in other}


def _percent(shares: Values) -> Values:
    return {item: 100 * share for item, share in shares.items()}


def _notes(said: Said, family: Family) -> Iterator[str]:
    """What limits the numbers."""
    strange = [scale for scale in said.scales if scale != family.scale]
    if strange and family.kind == "judge":
        low, high = family.scale or WINS
        theirs = " and ".join(f"{one:g} to {other:g}" for one, other in strange)
        some = "people" if len(strange) == len(said.scales) else "some people"
        yield f"{some} scored from {theirs}, stretched to the judge's {low:g} to {high:g}"
    if len(said.raters) > 1:
        yield f"{len(said.raters)} people; where several labelled the same, their mean counts"
    if said.by_hand:
        yield (
            f"{_labels(said.by_hand)} of items that were not drawn at random (by review): they never correct the "
            f"judge, and count for people only where nothing was drawn"
        )
    yield from _pool(said, family)
    for why, n in said.passed_over.items():
        yield f"{_labels(n)} {why}, left out"


def _labels(n: int) -> str:
    return f"{n} label{'s are' if n != 1 else ' is'}"


def _pool(said: Said, family: Family) -> Iterator[str]:
    """Where the judge scored items that could not be drawn."""
    if said.sample:
        judged = {item for s in family.scores for item in s.values}
        outside = len(judged - {*said.strata})
        if outside:
            yield (
                f"{outside} of {len(judged)} items judged came after the sample was drawn: people and correction are "
                f"of the others; `ift-eval review` again draws from all"
            )
