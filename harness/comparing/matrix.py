"""The values of a family as arrays, items in one order: made once, however often they are compared."""

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Floats

if TYPE_CHECKING:
    from harness.comparing.scores import Family, Scores

Codes = NDArray[np.int64]


class Matrix:
    """Items of a family, and who has which value.

    Attributes:
        items: Every item that anybody has a value for, in the order of who came first.
    """

    def __init__(self, family: "Family") -> None:
        """Columns are made when they are asked for."""
        self._family = family
        self.items: list[str] = list(dict.fromkeys(chain.from_iterable(s.values for s in family.scores)))
        self._place = {item: n for n, item in enumerate(self.items)}
        self._columns: dict[int, tuple[Scores, Floats]] = {}

    def column(self, scores: "Scores") -> Floats:
        """(items,) values, NaN where there is none."""
        if id(scores) not in self._columns:  # kept with their owner, so that no other can get its id
            column = np.full(len(self.items), np.nan)
            column[[self._place[item] for item in scores.values]] = list(scores.values.values())
            self._columns[id(scores)] = scores, column
        return self._columns[id(scores)][1]

    @cached_property
    def clusters(self) -> Codes:
        """(items,) a number for the cluster of each; of one that is in none a number of its own."""
        known: dict[str, int] = {}
        clusters = self._family.clusters
        return np.array(
            [known.setdefault(clusters.get(item, f"\0{item}"), len(known)) for item in self.items], dtype=int
        )

    def strata(self, column: Floats) -> list[Floats]:
        """The values of a column by cluster, those there are; all of them together where nothing is clustered."""
        there = ~np.isnan(column)
        values, codes = column[there], self.clusters[there]
        if not self._family.clusters:
            return [values] if len(values) else []
        order = np.argsort(codes, kind="stable")
        cuts: Sequence[int] = np.flatnonzero(np.diff(codes[order])) + 1  # type: ignore[assignment]
        return [part for part in np.split(values[order], cuts) if len(part)]
