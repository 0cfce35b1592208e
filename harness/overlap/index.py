"""Many items' n-grams in one table, and which of the items occur in a batch of training entries.

Items are indexed, training data streams past: memory goes with the items, whatever the size of the training data.
The measure is that of Llama 2 (Touvron et al. 2023, arXiv:2307.09288, A.6): the share of an item's words that lie in
n-grams it has in common with the training data, which matters from .8 on. GPT-3 (Brown et al. 2020, arXiv:2005.14165,
C) took 13-grams, and 8 words as the least that is no coincidence. Here n is 8: a changed word undoes every n-gram it
lies in, so that a shorter n finds more of what was reworded in places (Singh et al. 2024, arXiv:2411.03923, compare
such choices).
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from harness.overlap.findings import Found
from harness.overlap.forms import Form, forms_of
from harness.overlap.grams import Grams, Hashes, Ints
from harness.overlap.sought import Sought
from harness.overlap.training import Trained

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, of no pattern: 2**64 over the golden ratio


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
        self._grams = Grams(self._forms, self._hashed([form.words for form in self._forms])[1], n, threshold)

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
