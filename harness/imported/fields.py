"""Which fields of results made elsewhere hold what."""

from pydantic import BaseModel, ConfigDict


class ResultFields(BaseModel):
    """Names of fields or columns; those left out are recognised by themselves. Every field is a flag.

    Attributes:
        id: The item's id: a column, or a field of the task's document (lm-eval).
        score: What the item scored: a column, a metric (lm-eval, "exact_match,strict-match") or a scorer (Inspect).
        checkpoint: Whose it is; a column.
        cluster: What items belong together by, such as the text they ask about: a column, or a field of the document
            (lm-eval) or of the sample's metadata (Inspect).
        lower_is_better: The less the better, as with a loss.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | None = None
    score: str | None = None
    checkpoint: str | None = None
    cluster: str | None = None
    lower_is_better: bool = False
