"""Many items' n-grams in one table, and which of the items occur in a batch of training entries.

Items are indexed, training data streams past: memory goes with the items, whatever the size of the training data.
The measure is that of Llama 2 (Touvron et al. 2023, arXiv:2307.09288, A.6): the share of an item's words that lie in
n-grams it has in common with the training data, which matters from .8 on. GPT-3 (Brown et al. 2020, arXiv:2005.14165,
C) took 13-grams, and 8 words as the least that is no coincidence. Here n is 8: a changed word undoes every n-gram it
lies in, so that a shorter n finds more of what was reworded in places (Singh et al. 2024, arXiv:2411.03923, compare
such choices).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.overlap.findings import Found
from harness.overlap.forms import Form, forms_of
from harness.overlap.sought import Sought
from harness.overlap.training import Trained

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

TEMPLATE = 2  # different questions of one data set that share a wording: it tells none of them
LONG = 2  # times n: words from which on a question can be near another, and not just differ in what matters
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, of no pattern: 2**64 over the golden ratio
_SIEVE_BITS = 24


class Index:
    """The items of one data set, ready to be met by training entries.

    An item counts as found

    * whole, if its question stands in an entry word for word; one of fewer than `n` words only if it is all that is
      asked there, since so few words stand in many a text by chance;
    * near, if it has at least twice `n` words (in a shorter one a changed word makes another question), and at least
      `threshold` of them lie in runs of `n` words that one entry has too. Wordings that different questions of the data
      set share (an instruction about ever new inputs, a passage with several questions) are left out of that share:
      they are in the training data wherever the template is.
    """

    def __init__(self, items: Sequence[Sought], *, n: int, threshold: float) -> None:
        """Index items.

        Args:
            items: What to look for; those with an empty question are never found.
            n: Words of an n-gram, at least 1.
            threshold: Share of an item's words, in (0, 1].
        """
        assert n >= 1
        assert 0 < threshold <= 1
        self.items, self.n, self.threshold = items, n, threshold
        self.found: dict[str, Found] = {}
        forms = forms_of(items, n)
        self._short: defaultdict[str, list[Form]] = defaultdict(list)
        for form in forms:
            if len(form.words) < n:
                self._short[form.text].append(form)
        self._forms = [form for form in forms if len(form.words) >= n]
        self._words: dict[str, int] = {}
        for form in self._forms:
            for word in form.words:
                self._words.setdefault(word, len(self._words) + 1)
        self._codes = np.random.default_rng(6).integers(1, 2**63, len(self._words) + 1, np.uint64)
        self._grams = _Grams(self._forms, self._hashed([form.words for form in self._forms])[1], n, threshold)

    def meet(self, entries: Sequence[Trained]) -> None:
        """Look which items occur in these entries, and keep it in `found`."""
        for entry in entries:
            for question in dict.fromkeys(entry.questions):
                for form in self._short.get(question, ()):
                    self._keep(form, entry, exact=True, containment=1.0)
        if not self._forms:
            return
        place, hashes = self._hashed([entry.text.split(" ") for entry in entries])
        for number, form_number, containment in self._grams.candidates(place, hashes):
            form, entry = self._forms[form_number], entries[number]
            exact = f" {form.text} " in f" {entry.text} "
            if exact or containment >= self.threshold - 1e-12:  # of 4 / 5 no rounding may make less
                self._keep(form, entry, exact=exact, containment=1.0 if exact else containment)

    def _hashed(self, texts: Sequence[Sequence[str]]) -> tuple[Ints, Hashes]:
        """The hash of every n words in a row, and which text they are of; both (N,)."""
        known, n = self._words.get, self.n
        numbers = [known(word, 0) for text in texts for word in text]
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        codes = self._codes[np.array(numbers, np.int64)]
        if len(codes) < n:
            return np.zeros(0, np.int64), np.zeros(0, np.uint64)
        hashes = np.zeros(len(codes) - n + 1, np.uint64)
        for offset in range(n):  # arithmetic modulo 2**64, as a hash may
            hashes *= _FACTOR
            hashes += codes[offset : offset + len(hashes)]
        ends = np.cumsum(lengths)
        place = np.repeat(np.arange(len(texts)), lengths)[: len(hashes)]
        whole = np.arange(len(hashes)) + n <= ends[place]  # not across two texts
        return place[whole], hashes[whole]

    def _keep(self, form: Form, entry: Trained, *, exact: bool, containment: float) -> None:
        for item in form.items:
            before = self.found.get(item.item_id)
            if before and before.exact and before.with_answer:
                continue
            answered = form.is_answered(item, entry, self.n, self.threshold)
            if form.needs_answer and not answered:
                continue
            now = Found(
                item_id=item.item_id,
                exact=exact,
                containment=containment,
                entry=entry.name,
                with_answer=answered,
                question=" ".join(item.question.split())[:200],
            )
            self.found[item.item_id] = _better(before, now)


def _better(before: Found | None, now: Found) -> Found:
    """The one that holds more of the item; the answer counts wherever it stands beside the question."""
    if before is None:
        return now
    held = [(one.exact, one.containment, one.with_answer) for one in (before, now)]
    more = now if held[1] > held[0] else before
    return more.model_copy(update={"with_answer": before.with_answer or now.with_answer})


@dataclass(frozen=True)
class _Placed:
    """A form's n-grams that count.

    Attributes:
        grams: Their numbers, place by place, -1 for one that does not count; (words - n + 1,).
        words: How many words lie in those that count; 0 where none does, and only the whole form is found.
    """

    grams: Ints
    words: int


class _Grams:
    """Which forms each n-gram is of."""

    def __init__(self, forms: Sequence[Form], hashes: Hashes, n: int, threshold: float) -> None:
        self._n = n
        self._keys, numbers = np.unique(hashes, return_inverse=True)
        ends = np.cumsum([len(form.words) - n + 1 for form in forms], dtype=np.int64)
        own = np.split(numbers.astype(np.int64), ends[:-1]) if forms else []
        shared = _shared(forms, own, len(self._keys))
        self._placed = [_placed(grams, shared, n) for grams in own]  # of each form
        triggers: defaultdict[int, list[int]] = defaultdict(list)
        rarity = np.bincount(numbers, minlength=len(self._keys)) if forms else np.zeros(0, np.int64)
        for form, (grams, placed) in enumerate(zip(own, self._placed, strict=True)):
            rarest = [int(grams[np.argmin(rarity[grams])])]
            for gram in np.unique(placed.grams[placed.grams >= 0]).tolist() if placed.words else rarest:
                triggers[gram].append(form)
        counts = np.array([len(triggers.get(gram, ())) for gram in range(len(self._keys))], np.int64)
        self._start = np.concatenate([[0], np.cumsum(counts)])
        self._form = np.array([form for gram in range(len(self._keys)) for form in triggers.get(gram, ())], np.int64)
        # So many n-grams at least have the share of words that is wanted, or the whole form.
        self._needed = np.array([max(1, np.ceil(threshold * p.words / n - 1e-9)) for p in self._placed], np.int64)
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


def _shared(forms: Sequence[Form], own: Sequence[Ints], kinds: int) -> NDArray[np.bool_]:
    """Which n-grams are template: in several questions that differ. Forms of one item are one question."""
    seen: Counter[int] = Counter()
    for form, grams in zip(forms, own, strict=True):
        if form.whole:
            seen.update(set(grams.tolist()))
    found = np.zeros(kinds, np.bool_)
    found[[gram for gram, count in seen.items() if count >= TEMPLATE]] = True
    return found


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
