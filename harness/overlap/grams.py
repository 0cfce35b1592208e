"""Which n-grams tell which questions, and which questions have enough of them in common with a training entry."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.overlap.forms import Form

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

TEMPLATE = 2  # different questions of one data set that share a wording: it tells none of them
LONG = 2  # times n: words from which on a question can be near another, and not just differ in what matters
_SIEVE_BITS = 24


@dataclass(frozen=True)
class _Placed:
    """A form's n-grams that count.

    Attributes:
        grams: Their numbers, place by place, -1 for one that does not count; (words - n + 1,).
        words: How many words lie in those that count; 0 where none does, and only the whole form is found.
    """

    grams: Ints
    words: int


class Grams:
    """Which forms each n-gram is of."""

    def __init__(self, forms: Sequence[Form], hashes: Hashes, n: int, threshold: float) -> None:
        """Sort the n-grams of forms.

        Args:
            forms: Of at least `n` words each.
            hashes: Of their n-grams, form by form, place by place.
            n: Words of an n-gram.
            threshold: Share of a form's words from which on it is a candidate.
        """
        self._n = n
        self._keys, numbers = np.unique(hashes, return_inverse=True)
        sizes = np.array([len(form.words) - n + 1 for form in forms], np.int64)
        own = np.split(numbers.astype(np.int64), np.cumsum(sizes)[:-1]) if forms else []
        shared = _shared(forms, sizes, numbers, len(self._keys))
        rarity = np.bincount(numbers, minlength=len(self._keys))
        self._placed = [_placed(grams, shared, n) for grams in own]  # of each form
        telling, self._needed = [], np.ones(len(forms), np.int64)
        for number, (grams, placed) in enumerate(zip(own, self._placed, strict=True)):
            if placed.words:
                different, times = np.unique(placed.grams[placed.grams >= 0], return_counts=True)
                # So many different ones at least have the share of words that is wanted.
                self._needed[number] = max(1, math.ceil(threshold * placed.words / (n * times.max()) - 1e-9))
                telling.append(different)
            else:  # found whole or not at all, which shows in any of them
                telling.append(grams[[np.argmin(rarity[grams])]])
        gram = np.concatenate([np.zeros(0, np.int64), *telling])
        counts = np.bincount(gram, minlength=len(self._keys))
        self._start = np.concatenate([[0], np.cumsum(counts)])
        self._form = np.repeat(np.arange(len(forms)), [*map(len, telling)])[np.argsort(gram, kind="stable")]
        self._sieve = np.zeros(1 << _SIEVE_BITS, np.bool_)
        self._sieve[_sieve_place(self._keys[counts > 0])] = True

    def candidates(self, place: Ints, hashes: Hashes) -> Iterator[tuple[int, int, float]]:
        """Entries and forms that may have enough in common, and the share of words they have.

        Args:
            place: Which entry an n-gram is of; (N,).
            hashes: Of it; (N,).
        """
        maybe = np.flatnonzero(self._sieve[_sieve_place(hashes)])
        gram = np.minimum(np.searchsorted(self._keys, hashes[maybe]), len(self._keys) - 1)
        there = self._keys[gram] == hashes[maybe]
        pairs = np.unique(place[maybe][there] * len(self._keys) + gram[there])
        place, gram = pairs // len(self._keys), pairs % len(self._keys)
        fan = self._start[gram + 1] - self._start[gram]
        offset = np.arange(fan.sum()) - np.repeat(np.cumsum(fan) - fan, fan)
        form = self._form[np.repeat(self._start[gram], fan) + offset]
        both, hits = np.unique(np.repeat(place, fan) * len(self._placed) + form, return_counts=True)
        entry, form = both // len(self._placed), both % len(self._placed)
        for number, wanted in zip(*(kept[hits >= self._needed[form]].tolist() for kept in (entry, form)), strict=True):
            first, last = np.searchsorted(place, [number, number + 1])
            yield number, wanted, self._share(self._placed[wanted], gram[first:last])

    def _share(self, placed: _Placed, grams: Ints) -> float:
        """Share of the form's words that lie in these n-grams."""
        if not placed.words:
            return 0.0
        return _covered(np.isin(placed.grams, grams), self._n) / placed.words


def _shared(forms: Sequence[Form], sizes: Ints, grams: Ints, kinds: int) -> NDArray[np.bool_]:
    """Which n-grams are template: in several questions that differ. Of an item's forms only the whole one counts."""
    form = np.repeat(np.arange(len(forms)), sizes)
    whole = np.array([form.whole for form in forms], np.bool_)[form]
    seen = np.unique(form[whole] * kinds + grams[whole]) % max(kinds, 1)
    return np.bincount(seen, minlength=kinds) >= TEMPLATE


def _placed(grams: Ints, shared: NDArray[np.bool_], n: int) -> _Placed:
    words = len(grams) + n - 1
    counted = ~shared[grams] & (words >= LONG * n)
    return _Placed(np.where(counted, grams, -1), _covered(counted, n))


def _covered(hit: NDArray[np.bool_], n: int) -> int:
    """Words in the n-grams that were hit; (words - n + 1,)."""
    steps = np.zeros(len(hit) + n, np.int64)
    steps[: len(hit)] += hit
    steps[n:] -= hit
    return int((np.cumsum(steps) > 0).sum())


def _sieve_place(hashes: Hashes) -> Ints:
    return (hashes >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)
