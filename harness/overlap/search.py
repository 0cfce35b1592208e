"""Items looked for in training files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.errors import HarnessError
from harness.overlap.findings import Found
from harness.overlap.index import Index
from harness.overlap.kept import Search, state_of
from harness.overlap.sought import Sought
from harness.overlap.training import Entries, Trained, training_entries

N, THRESHOLD = 8, 0.8
_ENTRIES, _CHARACTERS = 4000, 8_000_000  # of a batch, which bounds memory


def search(
    items: Mapping[str, Sequence[Sought]],
    sources: Sequence[str],
    *,
    n: int = N,
    threshold: float = THRESHOLD,
    progress: Entries = lambda done, total: None,
) -> list[Search]:
    """Look for the items of data sets in training files, which are read once, entry by entry.

    Args:
        items: By label of the data set.
        sources: Training files: see `training_entries`.
        n: Words of an n-gram.
        threshold: Share of an item's words in n-grams in common from which on it counts as near.
        progress: Hears how many entries were read, of about how many.

    Raises:
        HarnessError: If `n` or the threshold makes no sense, or a file holds no entries.
        FinetuneError: If a file cannot be read.
    """
    if n < 1:
        raise HarnessError(f"--n {n}: wanted 1 word or more; {N} is usual")
    if not 0 < threshold <= 1:
        raise HarnessError(f"--threshold {threshold:g}: wanted a share above 0 and up to 1; {THRESHOLD:g} is usual")
    states = [state for source in sources for state in state_of(source)]
    indexes = {label: Index(own, n=n, threshold=threshold) for label, own in items.items()}
    entries = 0
    for batch in _batches(training_entries(sources, progress)):
        entries += len(batch)
        for index in indexes.values():
            index.meet(batch)
    return [
        Search(
            train=", ".join(sources),
            states=states,
            dataset=label,
            n=n,
            threshold=threshold,
            items=len(items[label]),
            textless=sum(not item.question.strip() for item in items[label]),
            entries=entries,
            found=_in_order(items[label], index.found),
        )
        for label, index in indexes.items()
    ]


def _in_order(items: Iterable[Sought], found: Mapping[str, Found]) -> list[Found]:
    """Whole ones first, then by how much of them was found; otherwise as the data set has them."""
    there = [found[item.item_id] for item in items if item.item_id in found]
    return sorted(there, key=lambda one: (-one.exact, -one.containment))


def _batches(entries: Iterator[Trained]) -> Iterator[list[Trained]]:
    """So many at once that arrays are worth it, and not more than fit in memory."""
    batch: list[Trained] = []
    characters = 0
    for entry in entries:
        batch.append(entry)
        characters += len(entry.text)
        if len(batch) >= _ENTRIES or characters >= _CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
