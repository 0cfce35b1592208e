"""Which items people are asked about: a random sample, stratified by category and by what the judge said."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from harness.records import Line, now
from harness.store import record_key

FEWEST = 2  # items of a stratum that a sample must have, for a variance of its own
FEW = 8  # values that a category may have; with more of them strata would have no items
CATEGORIES = ("category", "subject", "task", "type")  # fields of an entry that may hold its category
THIRDS = ("low", "middle", "high")


class Sample(Line):
    """All items of a data set in the order in which they are drawn: a sample of n is the first n.

    So a larger sample holds every smaller one, and what was labelled stays part of it.

    Attributes:
        dataset: Label of the data set.
        seed: Of the draw.
        strata: The items of each stratum, in the order drawn.
        created: When, UTC.
    """

    dataset: str
    seed: int
    strata: dict[str, list[str]]
    created: str = ""

    @property
    def items(self) -> set[str]:
        """All of them, drawn or not."""
        return {item for items in self.strata.values() for item in items}

    def first(self, n: int) -> "list[Drawn]":
        """The sample of n items; of fewer, all."""
        order = [*islice(_seats({name: len(items) for name, items in self.strata.items()}), n)]
        counts = Counter(order)
        taken: Counter[str] = Counter()
        drawn = []
        for name in order:
            items = self.strata[name]
            drawn.append(Drawn(items[taken[name]], name, counts[name] / len(items)))
            taken[name] += 1
        return drawn


@dataclass(frozen=True)
class Drawn:
    """An item of a sample.

    Attributes:
        item_id: Which.
        stratum: It was drawn from.
        probability: With which each item of the stratum was drawn.
    """

    item_id: str
    stratum: str
    probability: float


def draw(
    dataset: str,
    items: Sequence[str],
    *,
    n: int,
    seed: int,
    categories: Mapping[str, str] | None = None,
    scores: Mapping[str, float] | None = None,
) -> Sample:
    """Draw a stratified sample without replacement.

    Every stratum gets two items, then whichever is owed most by its size (Webster's divisors, under which a larger
    sample never takes one away); within it items come in the order of random numbers of their own, so that other items
    beside them do not change which is first (permanent random numbers, Ohlsson 1995).

    Args:
        dataset: Label of the data set.
        items: Ids, each once.
        n: Items that are to be labelled: strata are made large enough for two of each.
        seed: Of the order.
        categories: Of each item that has one.
        scores: What the judge said of each; strata are thirds of it.
    """
    cells = _cells(items, categories or {}, scores or {})
    strata = {name: sorted(own, key=lambda item: _lot(seed, item)) for name, own in _merged(cells, n).items()}
    key = record_key(sample=dataset, seed=seed, strata=strata)
    return Sample(key=key, dataset=dataset, seed=seed, strata=strata, created=now())


def categories_of(metas: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """The category of each item, from the first field that has a few values; none where there is no such field."""
    for field in CATEGORIES:
        found = {item: str(meta[field]) for item, meta in metas.items() if meta.get(field) not in (None, "")}
        if 1 < len(set(found.values())) <= FEW:
            return found
    return {}


def _lot(seed: int, item: str) -> str:
    return hashlib.sha256(f"{seed}:{item}".encode("utf-8", "surrogatepass")).hexdigest()


def _cells(
    items: Sequence[str], categories: Mapping[str, str], scores: Mapping[str, float]
) -> dict[tuple[str, str], list[str]]:
    """Items by category and third of the score, neighbours beside each other."""
    values = np.array([scores[item] for item in items if item in scores])
    cuts = np.quantile(values, [1 / 3, 2 / 3]) if len(values) else np.array([])
    cells: dict[tuple[str, str], list[str]] = {}
    for item in items:
        third = str(int((scores[item] > cuts).sum())) if item in scores else ""
        cells.setdefault((categories.get(item, ""), third), []).append(item)
    return dict(sorted(cells.items()))


def _merged(cells: Mapping[tuple[str, str], list[str]], n: int) -> dict[str, list[str]]:
    """Cells, those too small for two items of a sample of n taken together with a neighbour."""
    names = [[_named(*cell)] for cell in cells]
    parts = [list(items) for items in cells.values()]
    wanted = FEWEST * sum(map(len, parts)) / max(n, 1)
    while len(parts) > 1 and min(map(len, parts)) < wanted:
        at = min(range(len(parts)), key=lambda place: len(parts[place]))
        beside = [place for place in (at - 1, at + 1) if 0 <= place < len(parts)]
        other = min(beside, key=lambda place: len(parts[place]))
        one, two = min(at, other), max(at, other)
        parts[one] += parts.pop(two)
        names[one] += names.pop(two)
    return {" + ".join(name): items for name, items in zip(names, parts, strict=True)}


def _named(category: str, third: str) -> str:
    parts = [category, THIRDS[int(third)] if third else ""]
    return " ".join(filter(None, parts)) or "all"


def _seats(sizes: Mapping[str, int]) -> Iterator[str]:
    """Which stratum each further item of a sample is drawn from, until all are."""
    taken = dict.fromkeys(sizes, 0)
    for _ in range(FEWEST):
        for name, size in sizes.items():
            if taken[name] < size:
                taken[name] += 1
                yield name
    for _ in range(sum(sizes.values()) - sum(taken.values())):
        open_ones = [name for name, size in sizes.items() if taken[name] < size]
        name = max(open_ones, key=lambda one: sizes[one] / (2 * taken[one] + 1))
        taken[name] += 1
        yield name
