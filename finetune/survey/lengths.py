"""Token lengths of a data set, and what does not fit a model."""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from finetune.examples import Example, Learn, encode_entries
from finetune.instructions import Entry
from finetune.segments import Style
from finetune.tokenizer import Tokenizer

_ANY = 2**40  # tokens: everything fits
_BINS = 10


class Spread(BaseModel):
    """Smallest, middle, 95th percentile and largest of some lengths, in tokens."""

    model_config = ConfigDict(frozen=True)

    min: int
    median: float
    p95: float
    max: int


class Lengths(BaseModel):
    """How long entries are in tokens.

    Attributes:
        tokenizer: Whose tokens.
        style: Prompt style they are written in.
        max_length: Tokens the model can read.
        measured: Entries with something to learn: the others are not measured.
        untrained: Entries without.
        prompt: What is read but not learnt, of each entry.
        answer: What is learnt.
        whole: Both.
        tokens: Of all entries together.
        edges: Borders of the histogram of whole entries; the last bin has no upper border.
        counts: Entries in each bin, from its border up to the next.
        too_long: Entries that do not fit.
        cut: Those of them that `too_long="cut"` takes the end off.
        dropped: Those that it drops, since what is learnt in them does not fit at all.
        notes: What else is to know of them; see `Encoded`.
    """

    model_config = ConfigDict(frozen=True)

    tokenizer: str
    style: str
    max_length: int
    measured: int
    untrained: int
    prompt: Spread | None
    answer: Spread | None
    whole: Spread | None
    tokens: int
    edges: list[int]
    counts: list[int]
    too_long: int
    cut: int
    dropped: int
    notes: list[str]


def measure(
    entries: Sequence[Entry], style: Style, tokenizer: Tokenizer, *, max_length: int, learn: Learn = "answers"
) -> Lengths:
    """Encode all entries as a fine-tuning does, and measure them.

    Raises:
        FinetuneError: If the style cannot write an entry.
    """
    made = encode_entries(entries, style, tokenizer, max_length=_ANY, learn=learn)
    whole = np.array([len(example.tokens) for example in made.examples], np.int64)
    learnt = np.array([sum(example.trained) for example in made.examples], np.int64)
    # One more than the model can read fits, see `encode_entries`; what becomes of the rest it says itself.
    longer = [entries[made.kept[i]] for i in np.flatnonzero(whole > max_length + 1)]
    fitted = encode_entries(longer, style, tokenizer, max_length=max_length, learn=learn)
    edges, counts = histogram(whole.tolist())
    return Lengths(
        tokenizer=tokenizer.name,
        style=style.name,
        max_length=max_length,
        measured=len(whole),
        untrained=made.untrained,
        prompt=_spread(whole - learnt),
        answer=_spread(learnt),
        whole=_spread(whole),
        tokens=int(whole.sum()),
        edges=edges,
        counts=counts,
        too_long=len(longer),
        cut=fitted.cut,
        dropped=fitted.dropped,
        notes=made.notes,
    )


def histogram(values: Sequence[int]) -> tuple[list[int], list[int]]:
    """Round borders from 0 up to the 99th percentile, and how many values lie from each up to the next.

    The last bin holds everything from its border on.
    """
    if not values:
        return [], []
    width = _round_up(float(np.quantile(values, 0.99)) / _BINS)
    bins = np.minimum(np.asarray(values) // width, _BINS)
    counts = np.bincount(bins).tolist()
    first = next(i for i, count in enumerate(counts) if count)
    return [i * width for i in range(first, len(counts))], counts[first:]


def encode_one(
    entry: Entry, style: Style, tokenizer: Tokenizer, *, max_length: int, learn: Learn = "answers"
) -> Example | None:
    """An entry as the model sees it in training, or None if it does not see it at all."""
    made = encode_entries([entry], style, tokenizer, max_length=max_length, learn=learn)
    return made.examples[0] if made.examples else None


def _spread(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Spread | None:
    if not len(values):
        return None
    median, p95 = np.quantile(values, [0.5, 0.95]).tolist()
    return Spread(min=int(values.min()), median=median, p95=p95, max=int(values.max()))


def _round_up(value: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    if value <= 1:
        return 1
    power = 10 ** math.floor(math.log10(value))
    return int(next(step * power for step in (1, 2, 5, 10) if step * power >= value))
