"""Which test or benchmark items occur in training data, and what the scores are without them."""

from pydantic import BaseModel


class Found(BaseModel):
    """A test item that occurs in training data.

    Attributes:
        item_id: Its id.
        exact: Whether its normalised question is in there whole.
        containment: Share of its n-grams that are in one training entry, 0 to 1.
        entry: Which training entry holds most of it.
        with_answer: Whether the expected answer is in there too.
    """

    item_id: str
    exact: bool
    containment: float
    entry: str
    with_answer: bool = False


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
    """

    checkpoint: str
    n: int
    all_items: float
    n_clean: int
    clean: float | None = None
    low: float | None = None
    high: float | None = None


class Overlap(BaseModel):
    """Training data beside one data set of items.

    Attributes:
        train: The training file, or whose remembered training entries.
        dataset: Label of the data set or benchmark.
        table: Name of the table whose numbers these are.
        metric: What is measured.
        items: Items looked for.
        n: Words of an n-gram.
        threshold: Containment from which on an item counts as found.
        exact: Items whose question is in there whole.
        near: Further items at or above the threshold.
        found: These items.
        scores: Of each checkpoint.
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
