"""Judgments that are wanted, made side by side and kept as they come; what is recorded is not paid for again."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from harness.errors import HarnessError
from harness.pool import run_pool
from harness.records import JSON, CheckpointRecord, Evaluation, Judged
from harness.respond import Progress
from harness.store import RecordFile, Run, Writer

if TYPE_CHECKING:
    from judges.base import Judge, Judgment, Submission

J = TypeVar("J", bound=Judged)

# A judgment that failed for these reasons never reached the judge: the next run tries it again by itself.
NEVER_REACHED = ("connection", "denied")
_SYNC_EVERY = 0.25  # seconds between two waits for the disk; a killed process loses nothing of what was written


@dataclass(frozen=True)
class Wanted(Generic[J]):
    """One judgment that is wanted.

    Attributes:
        submission: What is judged.
        item_id: Of which item.
        key: Under which it is kept.
        repeat: Which of several of the same.
        keep: What is recorded of it.
        settings: How it is asked.
        attempt: How often it was tried before.
    """

    submission: "Submission"
    item_id: str
    key: str
    repeat: int
    keep: "Callable[[Wanted[J], Judgment], J]"
    settings: Mapping[str, JSON] = field(default_factory=dict)
    attempt: int = 0


@dataclass(frozen=True)
class Batch(Generic[J]):
    """The judgments of one checkpoint on one data set.

    Attributes:
        checkpoint: Whose answers.
        evaluation: As it is listed in the run.
        file: Where they are kept.
        wanted: All of them.
        todo: Those that are still to be made.
    """

    checkpoint: CheckpointRecord
    evaluation: Evaluation
    file: RecordFile[J]
    wanted: Sequence[Wanted[J]]
    todo: Sequence[Wanted[J]]


@dataclass(frozen=True)
class Order:
    """A judge, and how often and again it is to judge.

    Attributes:
        run: Where answers are, and judgments go.
        judge: After its `check`.
        name: What to call it in place of its own name.
        repeats: Judgments of the same.
        fresh: Judge again what is recorded.
        retry_unscored: Judge again what has no score.
    """

    run: Run
    judge: "Judge"
    name: str | None = None
    repeats: int = 1
    fresh: bool = False
    retry_unscored: bool = False

    @property
    def shown(self) -> str:
        """Judge and rubric, as tables and folders are called."""
        return f"{self.name or self.judge.name}+{self.judge.rubric}"

    def batch(
        self,
        checkpoint: CheckpointRecord,
        answered: Evaluation,
        file: RecordFile[J],
        wanted: Sequence[Wanted[J]],
        *,
        against: str | None = None,
    ) -> Batch[J]:
        """What is wanted of the answers of one evaluation, and which of it is still to be made.

        Args:
            checkpoint: Whose answers, as the run knows it.
            answered: The evaluation that collected them.
            file: Where the judgments are kept.
            wanted: All of them.
            against: Of preferences: with whose answers these are compared.
        """
        keys: dict[str, list[str]] = {item: [] for item in answered.records}
        for one in wanted:
            keys[one.item_id].append(one.key)
        evaluation = Evaluation(
            stage="judge",
            checkpoint=checkpoint.slug,
            dataset=answered.dataset,
            role=answered.role,
            settings=answered.settings | {"judge_fingerprint": self.judge.fingerprint},
            judge=self.shown,
            against=against,
            records=keys,
            leaked=answered.leaked,
            notes=answered.notes,
        )
        todo = still_open(wanted, file.read(), fresh=self.fresh, retry_unscored=self.retry_unscored)
        return Batch(checkpoint, evaluation, file, wanted, todo)


def still_open(
    wanted: Sequence[Wanted[J]], recorded: Mapping[str, J], *, fresh: bool, retry_unscored: bool
) -> list[Wanted[J]]:
    """Those that are to be made, each with the number of its attempt; of the same ones only one."""

    def is_open(found: J | None) -> bool:
        if fresh or found is None or found.unscored in NEVER_REACHED:
            return True
        return retry_unscored and found.score is None

    todo = {}
    for one in wanted:
        found = recorded.get(one.key)
        if is_open(found):
            todo[one.key] = replace(one, attempt=found.attempt + 1 if found else 0)
    return [*todo.values()]


async def settle(
    run: Run, batch: Batch[J], judge: "Judge", *, most: int | None = None, progress: Progress | None = None
) -> Batch[J]:
    """Make judgments and keep each as it comes.

    Args:
        run: Where the evaluation is listed, before any of it is done: a killed run shows what is missing.
        batch: Which.
        judge: After its `check`.
        most: Only so many of them.
        progress: Told how many there are, of how many.

    Returns:
        What is left to do: nothing, unless `most` or a cap on calls or cost ended it.

    Raises:
        HarnessError: If the judge is gone, or the run cannot be written.
    """
    run.add(batch.checkpoint, batch.evaluation)
    todo = batch.todo[:most]
    if not todo:
        return batch
    made: set[str] = set()
    failure = ""
    there = len(batch.wanted) - len(batch.todo)

    with batch.file.writing() as writer:
        keep = _Keeper(writer)
        done_since = _done_since(batch)
        made |= done_since
        todo = [one for one in todo if one.key not in done_since]

        def done(one: Wanted[J], judgment: "Judgment | None") -> None:
            nonlocal failure
            if judgment is None:
                return
            failure = judgment.detail or failure
            keep(one.keep(one, judgment))
            made.add(one.key)
            if progress:
                progress(there + len(made), len(batch.wanted))

        alive = await run_pool(
            todo,
            lambda one: unless_capped(judge, one),
            done,
            concurrency=judge.concurrency,
            lost=lambda judgment: judgment is not None and judgment.reason in NEVER_REACHED,
        )
        keep.sync()
    if not alive:
        raise gone(judge, failure)
    return replace(batch, todo=[one for one in batch.todo if one.key not in made])


def gone(judge: "Judge", failure: str) -> HarnessError:
    """What to say of a judge that failed to be reached again and again; `failure` is the last one."""
    why = f" ({failure})" if failure else ""
    return HarnessError(f"the judge {judge.name} is gone{why}; run the same command again to go on where it was")


def _done_since(batch: Batch[J]) -> set[str]:
    """Keys of what another process judged between the reading of the file and now, when nobody else can write."""
    recorded = batch.file.read()
    return {one.key for one in batch.todo if one.key in recorded and recorded[one.key].attempt >= one.attempt}


async def unless_capped(judge: "Judge", one: Wanted[J]) -> "Judgment | None":
    """A judgment; None where a cap on calls or cost does not let it be made."""
    from judges.spending import CapReached

    try:
        return await judge.judge(one.submission, repeat=one.repeat)
    except CapReached:
        return None


class _Keeper(Generic[J]):
    """Writes each record at once, and waits for the disk now and then: at 1,000 a second it would wait all day."""

    def __init__(self, writer: Writer[J]) -> None:
        self._writer, self._synced = writer, time.monotonic()

    def __call__(self, record: J) -> None:
        late = time.monotonic() - self._synced > _SYNC_EVERY
        self._writer.append(record, sync=late)
        if late:
            self._synced = time.monotonic()

    def sync(self) -> None:
        self._writer.append()


def settings_in(request: Mapping[str, JSON]) -> dict[str, JSON]:
    """What a judge's request says of its settings; the schema follows from form and rubric."""
    settings = request.get("settings")
    return {name: value for name, value in settings.items() if name != "schema"} if settings else {}


def told(one: Wanted[J], judgment: "Judgment", judge: "Judge") -> dict[str, object]:
    """What any record of a judgment holds."""
    return {
        "key": one.key,
        "attempt": one.attempt,
        "item_id": one.item_id,
        "judge": judge.name,
        "judge_fingerprint": judge.fingerprint,
        "rubric": judge.rubric,
        "form": judge.form,
        "repeat": one.repeat,
        "settings": one.settings,
        "score": judgment.score,
        "written": judgment.written,
        "mass": judgment.mass,
        "unscored": judgment.reason.value if judgment.reason else None,
        "detail": judgment.detail,
        "explanation": judgment.explanation,
        "raw": judgment.raw,
        "messages": list(judgment.messages),
        "calls": judgment.calls,
        "notes": list(judgment.notes),
        "prompt_tokens": judgment.prompt_tokens,
        "output_tokens": judgment.output_tokens,
        "seconds": judgment.seconds,
    }
