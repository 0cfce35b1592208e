"""What a comparison found, ready to be shown: tables, the pick, losses, leakage."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from harness.cards.card import JudgeCard
from harness.cards.panel import Panel
from harness.opinions.findings import Opinions
from harness.overlap.findings import Overlap
from harness.records import Comparison, Role, Summary

JUDGED = ("judge", "preference")  # kinds of tables that judges make


class Row(BaseModel):
    """One checkpoint in a table, and its comparison with the baseline where it has one."""

    summary: Summary
    comparison: Comparison | None = None


class Table(BaseModel):
    """One metric of several checkpoints.

    Attributes:
        name: "judge reference+f1-v1", or the task.
        kind: "judge", "preference" or "benchmark".
        dataset: Label of the data set.
        role: What the data set is for.
        metric: Name of the metric.
        baseline: Name of the checkpoint that the rows are compared with.
        rows: In training order.
        at_chance: Whether no checkpoint can be told from guessing; None where chance is unknown.
        others: The benchmark's other metrics over all items, by metric and name of the checkpoint.
        clusters: What the items are clustered by, such as "subject"; "" where they are not.
        fixed_clusters: Whether the clusters are all there are, not a sample of more.
        pairs: Every checkpoint against every other one, p adjusted over all of them; where that was asked for.
        warnings: What makes the comparisons doubtful, a sentence each.
        decimals: Of its numbers, where they are shown.
        notes: Of a benchmark: what the reader should know of the outcomes, by name.
        over_all: Whether the metric is no mean over items (MCC, F1, perplexity).
        in_points: Whether its numbers are points of a scale that is known (0 to 100), unlike a loss.
    """

    name: str
    kind: str
    dataset: str
    role: Role
    metric: str
    baseline: str
    rows: list[Row]
    at_chance: bool | None = None
    others: dict[str, dict[str, float]] = {}
    clusters: str = ""
    fixed_clusters: bool = True
    pairs: list[Comparison] = []
    warnings: list[str] = []
    decimals: int = 1
    notes: dict[str, list[str]] = {}
    over_all: bool = False
    in_points: bool = True


class Pick(BaseModel):
    """Which checkpoint to take.

    Attributes:
        name: Its name.
        picked_on: The kind of items it was picked on; "test" means that pick and score share them.
        against_base: Its comparison with the baseline on the test items; None when it is the baseline.
        undecided: Checkpoints that cannot be told apart from it on the test items.
        n_deciding: Items it was picked on.
        contradicted: Checkpoints that are better than it on the test items.
        others: Each of the other checkpoints against it on the test items.
        runner_up: The next best on the items it was picked on.
        lead: By how much it is ahead of that one there, in points.
        worse_on: Other tables in which it is certainly worse than the baseline; `metric` has their names.
    """

    name: str
    picked_on: Role
    against_base: Comparison | None
    undecided: list[str]
    n_deciding: int = 0
    contradicted: list[str] = []
    others: list[Comparison] = []
    runner_up: str | None = None
    lead: float | None = None
    worse_on: list[Comparison] = []


class Foremost(BaseModel):
    """Where only validation items are shown: who is best on them. No pick: its score there is no fair one.

    Attributes:
        name: The checkpoint.
        n: Items, those that every checkpoint has a value for.
        runner_up: The next best.
        lead: By how much it is ahead of that one, in points.
    """

    name: str
    n: int
    runner_up: str
    lead: float


class Losses(BaseModel):
    """Validation losses: at each checkpoint shown, and where the curve turned.

    Attributes:
        at: Loss of each checkpoint by name, in nats a token; None where unknown.
        turned: Step after which it rose; None when it was still falling at the end.
        steps: Last step of the curve.
    """

    at: dict[str, float | None]
    turned: int | None
    steps: int


class Course(BaseModel):
    """One number over the steps of a training.

    Attributes:
        name: "judge", the benchmark, or which loss.
        kind: What it comes from.
        values: At each of the trajectory's checkpoints; None where unknown.
        intervals: 95 % intervals of these; none of losses.
        higher_is_better: Direction.
    """

    name: str
    kind: Literal["judge", "benchmark", "loss"]
    values: list[float | None]
    higher_is_better: bool
    intervals: list[tuple[float, float] | None] = []

    @property
    def best(self) -> int | None:
        """Place of the best value, of equals the first."""
        known = [(n, value) for n, value in enumerate(self.values) if value is not None]
        sign = 1 if self.higher_is_better else -1
        return max(known, key=lambda at: sign * at[1])[0] if known else None


class Trajectory(BaseModel):
    """One training over its steps.

    Attributes:
        names: Its checkpoints in step order, the base first where it is shown.
        steps: Of each; the base's is 0.
        base: Name of the base; None where it is not shown.
        courses: What is known at these steps.
        forgotten: For each benchmark on which checkpoints are certainly worse than the base, the last of them.
        kept: Benchmarks on which none is.
        gained: For each table on which checkpoints are certainly better than the base, the last of them.
        undrawn: Other trainings among what is shown: names of the checkpoints of each, in step order.
    """

    names: list[str]
    steps: list[int]
    base: str | None
    courses: list[Course]
    forgotten: list[Comparison]
    kept: list[str]
    gained: list[Comparison] = []
    undrawn: list[list[str]] = []


class Part(BaseModel):
    """Some of a benchmark's items: all of them, a group's or a subject's; or the mean of its subjects.

    Attributes:
        name: Of the group or subject; "all"; "mean of subjects".
        kind: Which of these; "drawn" is the mean with the subjects taken as a sample of more.
        rows: One for each checkpoint; p adjusted over the parts of a kind (Benjamini-Hochberg).
    """

    name: str
    kind: Literal["all", "mean", "drawn", "group", "subject"]
    rows: list[Row]


class Breakdown(BaseModel):
    """A benchmark of many subjects by its parts.

    Attributes:
        name: The benchmark.
        dataset: Label of its data.
        baseline: Name of the checkpoint that the rows are compared with.
        parts: All items, the mean of the subjects, the groups, the subjects.
        unlike_published: Why these numbers cannot be set beside published ones; nothing where they can.
        field: What items of one part have in common.
        decimals: Of its numbers, where they are shown.
    """

    name: str
    dataset: str
    baseline: str
    parts: list[Part]
    unlike_published: list[str] = []
    field: str = "subject"
    decimals: int = 1

    def of_kind(self, *kinds: str) -> list[Part]:
        """The parts of some kinds."""
        return [part for part in self.parts if part.kind in kinds]


class Agreement(BaseModel):
    """One checkpoint's choices by log-likelihood and as it wrote them, on the same items.

    Attributes:
        name: The benchmark.
        checkpoint: Name.
        n: Items answered both ways.
        same: Of these, items with the same choice.
        low: Lower end of the share's 95 % interval, in percent.
        high: Upper end.
        by_likelihood: Accuracy of the one, in percent.
        written: Accuracy of the other.
    """

    name: str
    checkpoint: str
    n: int
    same: int
    low: float
    high: float
    by_likelihood: float
    written: float


class Settle(BaseModel):
    """What it would take to tell a checkpoint from the pick.

    Attributes:
        checkpoint: The one that cannot be told apart.
        pick: The pick.
        points: The difference that is to be seen, in points of the headline's table.
        n: Items they share now.
        needed: Items that show it in 4 of 5 cases.
    """

    checkpoint: str
    pick: str
    points: float
    n: int
    needed: int


class Report(BaseModel):
    """Everything the picture shows.

    Attributes:
        run: Folder of the run.
        baseline: Name of the checkpoint the others are compared with.
        tables: Judge first, then benchmarks.
        pick: None when nothing was judged, or there is only one checkpoint.
        foremost: In place of a pick where only validation items are shown.
        losses: None when no checkpoint knows its validation loss.
        trajectory: None when fewer than three checkpoints of one training are shown.
        leaked: Items of the headline's data set that checkpoints were trained on, by name; only of those that remember
            their training.
        looks: How often the test set's numbers have been shown, this time included.
        notes: What the reader should know of the answers, by name.
        left_out: Older evaluations that are not shown.
        breakdowns: Benchmarks of many subjects by their parts.
        agreements: Of choices by log-likelihood and choices written, where both are shown.
        cards: Of the judges of these tables, in their order.
        panel: Of several judges; None where there is one.
        skipped: Checkpoints and benchmarks that could not be evaluated, and why.
        settle: What would tell apart from the pick those that cannot be told from it.
        opinions: The judge, people, and the judge corrected by people; None where people said nothing of these.
        overlaps: What of the test items and benchmarks is known to be in training data, and the scores without it.
        remarks: What else a reader may not expect, a sentence each.
    """

    run: str
    baseline: str
    tables: list[Table]
    pick: Pick | None = None
    foremost: Foremost | None = None
    losses: Losses | None = None
    trajectory: Trajectory | None = None
    leaked: dict[str, int] = {}
    looks: int = 0
    notes: dict[str, list[str]] = {}
    left_out: list[str] = []
    breakdowns: list[Breakdown] = []
    agreements: list[Agreement] = []
    cards: list[JudgeCard] = []
    panel: Panel | None = None
    skipped: dict[str, str] = {}
    settle: list[Settle] = []
    opinions: Opinions | None = None
    overlaps: list[Overlap] = []
    remarks: list[str] = []

    def _repr_mimebundle_(
        self, include: Sequence[str] = (), exclude: Sequence[str] = (), **more: Any
    ) -> dict[str, str]:
        """What a notebook's cell shows."""
        from harness.notebook import shown

        return shown(self)._repr_mimebundle_(include, exclude)

    @property
    def shown(self) -> list[Table]:
        """Those on test items; those on validation items where nothing was judged on test items."""
        judged = any(t.kind in JUDGED and t.role == "test" for t in self.tables)
        return [t for t in self.tables if t.role == "test" or (not judged and t.kind in JUDGED)]

    @property
    def headline(self) -> Table | None:
        """The first table of a judge among those shown."""
        return next((t for t in self.shown if t.kind in JUDGED), None)
