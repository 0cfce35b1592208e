"""What a user may ask of a comparison."""

from pydantic import BaseModel, ConfigDict


class ComparisonSettings(BaseModel):
    """Which of the recorded results are compared, and how.

    Attributes:
        baseline: Name of the one the others are compared with; what they were trained from when None.
        dataset: Beginning of a data set's name; the newest when None.
        judges: Beginnings of judges' names; the newest when None.
        metrics: Metrics to show where a table has them, in place of what it is known by.
        by: Field of the items to show each table by that has it.
        cluster: Field of the items that says which belong together.
        group: Recipes, `NAME=CKPT,CKPT,...`.
        results: Results made elsewhere, `[NAME=]PATH`.
        all_pairs: Every checkpoint against every other one too.
        margin: Differences within it count as none, in points.
        allow_missing: Give verdicts however many items have no value.
        evaluation: Ids of evaluations to take in place of the newest.
    """

    model_config = ConfigDict(extra="forbid")

    baseline: str | None = None
    dataset: str | None = None
    judges: list[str] | None = None
    metrics: list[str] | None = None
    by: str | None = None
    cluster: str | None = None
    group: list[str] | None = None
    results: list[str] | None = None
    all_pairs: bool = False
    margin: float | None = None
    allow_missing: bool = False
    evaluation: list[str] | None = None
