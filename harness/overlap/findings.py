"""Which test or benchmark items occur in training data, and what the scores are without them."""

from pydantic import BaseModel


class Found(BaseModel):
    """A test item that occurs in training data.

    Attributes:
        item_id: Its id.
        exact: Whether its normalised question is in there whole.
        containment: Share of its words that stand in n-grams which one training entry has too, 0 to 1.
        entry: Which training entry holds most of it; "" where only that it was trained on is known.
        with_answer: Whether the expected answer is in there too.
        question: How its question begins.
    """

    item_id: str
    exact: bool
    containment: float
    entry: str
    with_answer: bool = False
    question: str = ""


class WithAndWithout(BaseModel):
    """One checkpoint's number on all items, and on those that do not occur in the training data.

    Attributes:
        checkpoint: Name.
        n: Items with a value.
        all_items: Mean over these.
        n_clean: Of these, items that do not occur.
        clean: Mean over them; None where there is none.
        low: Lower end of its 95 % interval.
        high: Upper end.
        difference: To the baseline on clean items that both have; None of the baseline itself, and of fewer than two.
        difference_low: Lower end of its 95 % interval.
        difference_high: Upper end.
    """

    checkpoint: str
    n: int
    all_items: float
    n_clean: int
    clean: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


class Overlap(BaseModel):
    """Training data beside one data set of items.

    Attributes:
        train: The training file, or whose remembered training entries.
        dataset: Label of the data set or benchmark.
        table: Name of the table whose numbers these are.
        metric: What is measured.
        items: Items looked for.
        n: Words of an n-gram; 0 where nothing but ids or hashes of questions was compared.
        threshold: Containment from which on an item counts as found.
        exact: Items whose question is in there whole.
        near: Further items at or above the threshold.
        found: These items.
        scores: Of each checkpoint.
        baseline: Name of the checkpoint that the differences are to; "" where there are none.
        entries: Training entries that were read; 0 where nobody knows.
        textless: Items that could not be looked for, since the run keeps no question of theirs.
        source: How it is known: "searched", "training file" (found beside a checkpoint), "remembered" (ids, hashes).
        note: What the reader should know of it, such as a file that has changed since; "" for nothing.
    """

    train: str
    dataset: str
    table: str
    metric: str
    items: int
    n: int
    threshold: float
    exact: int
    near: int
    found: list[Found] = []
    scores: list[WithAndWithout] = []
    baseline: str = ""
    entries: int = 0
    textless: int = 0
    source: str = "searched"
    note: str = ""
