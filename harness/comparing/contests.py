"""Who has been compared with whom on one metric: nothing is computed twice."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from harness.comparing.scores import Family, Scores
from harness.comparing.side_by_side import comparisons_of, mirrored
from harness.comparing.terms import Terms
from harness.records import Comparison


class Contests:
    """Comparisons of one family, before p is adjusted; each pair is computed once, from whichever side it is asked."""

    def __init__(self, family: Family, names: Mapping[str, str], terms: Terms) -> None:
        """Nothing is compared yet."""
        self.family, self.names, self.terms = family, names, terms
        self._made: dict[tuple[str, str], Comparison | None] = {}

    def against(self, baseline: Scores, others: Sequence[Scores]) -> list[Comparison | None]:
        """Each of the others against the baseline; None where they share too few items."""
        return self._of([(other, baseline) for other in others])

    def every_pair(self) -> list[Comparison | None]:
        """Each of the family against every one before it."""
        return self._of([(later, earlier) for earlier, later in combinations(self.family.scores, 2)])

    def _of(self, pairs: Sequence[tuple[Scores, Scores]]) -> list[Comparison | None]:
        self._made |= {_key(one, other): None for one, other in pairs if one is other}
        new = [pair for pair in pairs if _key(*pair) not in self._made]
        for pair, made in zip(new, comparisons_of(new, self.family, self.names, self.terms), strict=True):
            self._made[_key(*pair)] = made
            self._made[_key(*reversed(pair))] = made and mirrored(made)
        return [self._made[_key(*pair)] for pair in pairs]


def _key(one: Scores, other: Scores) -> tuple[str, str]:
    return one.checkpoint.slug, other.checkpoint.slug
