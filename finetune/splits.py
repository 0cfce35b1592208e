"""Training, test and validation entries: drawn from one source, or read from their own."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import FinetuneError
from finetune.instructions import Entry, read_entries, write_entries

TRAIN_SHARE, TEST_SHARE = 0.85, 0.10  # the rest is for validation


@dataclass(frozen=True)
class Splits:
    """The three sets of entries of one training; `test` may be empty when the user keeps it elsewhere."""

    train: list[Entry]
    test: list[Entry]
    validation: list[Entry]

    def save(self, folder: Path) -> None:
        """Write `train.json`, `test.json` and `validation.json`, with ids; none for a set without entries."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, entries in vars(self).items():
            if entries:
                write_entries(folder / f"{name}.json", entries)


def make_splits(
    data: str | Path,
    *,
    validation: str | Path | None = None,
    test: str | Path | None = None,
    shuffle: bool = True,
    seed: int = 0,
) -> Splits:
    """Split `data` 85 / 10 / 5, or not at all when a validation or a test file is given.

    Args:
        data: Entries to train on, or to split: any source that `read_entries` knows.
        validation: Entries of its own for validation. When only `test` is given, 5 % of `data` serve.
        test: Entries of its own for the test. When only `validation` is given, there are none.
        shuffle: Draw at random, with repeated questions kept on one side; else take the book's split by
            file order: the first 85 %, the next 10 %, the last 5 %.
        seed: Of the shuffle.

    Raises:
        FinetuneError: If a source cannot be read or a set would be empty.
    """
    entries = read_entries(data)
    if validation is None and test is None:
        splits = split(entries, shuffle=shuffle, seed=seed)
    else:
        kept = read_entries(test) if test else []
        if validation:
            splits = Splits(entries, kept, read_entries(validation))
        else:
            part = split(entries, shuffle=shuffle, seed=seed, train_share=TRAIN_SHARE + TEST_SHARE, test_share=0)
            splits = Splits(part.train, kept, part.validation)
    needed = {"train": splits.train, "validation": splits.validation}
    if validation is None or test is not None:
        needed["test"] = splits.test
    for name, part_entries in needed.items():
        if not part_entries:
            raise FinetuneError(
                f"{data}: of {len(entries)} entries the {name} set gets none; "
                f"give more entries, or sets of their own with --val and --test"
            )
    return splits


def split(
    entries: Sequence[Entry],
    *,
    shuffle: bool,
    seed: int,
    train_share: float = TRAIN_SHARE,
    test_share: float = TEST_SHARE,
) -> Splits:
    """Cut a sequence of entries in three; see `make_splits`."""
    to_test = int(len(entries) * train_share)
    to_validation = to_test + int(len(entries) * test_share)
    if not shuffle:
        return Splits(list(entries[:to_test]), list(entries[to_test:to_validation]), list(entries[to_validation:]))
    groups: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.prompt_hash].append(entry)
    shuffled = list(groups.values())
    random.Random(seed).shuffle(shuffled)
    # Repeated questions first: with them placed, single ones fill each side to its exact size.
    shuffled.sort(key=lambda group: len(group) == 1)
    sizes = (to_test, to_validation - to_test, len(entries) - to_validation)
    sides = _fill(shuffled, sizes, random.Random(seed + 1))
    return Splits(*sides)


def _fill(groups: Sequence[list[Entry]], sizes: Sequence[int], rng: random.Random) -> list[list[Entry]]:
    """Put whole groups on sides at random, in proportion to the room each side still has."""
    sides: list[list[Entry]] = [[] for _ in sizes]
    for group in groups:
        room = [max(size - len(side), 0) for size, side in zip(sizes, sides, strict=True)]
        fits = [r if r >= len(group) else 0 for r in room]
        side = rng.choices(range(len(sides)), weights=fits if any(fits) else [r + 1e-9 for r in room])[0]
        sides[side] += group
    return sides
