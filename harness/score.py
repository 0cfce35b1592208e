"""Responses to verdicts: a judge scores every answer once, and what is recorded is not paid for again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.instructions import DataSet
from harness.errors import HarnessError
from harness.pool import run_pool
from harness.records import CheckpointRecord, Evaluation, Response, Verdict
from harness.respond import Progress
from harness.scores import judge_folder
from harness.store import Run, record_key

if TYPE_CHECKING:
    from judges.base import Judge, Judgment, Submission

# A judgment that failed for these reasons never reached the judge: the next run tries it again by itself.
_NEVER_REACHED = ("connection",)


@dataclass(frozen=True)
class ToJudge:
    """One judgment that is wanted, the key it is kept under, and how often it was tried before."""

    submission: "Submission"
    response: Response
    key: str
    attempt: int = 0


async def judge_responses(
    run: Run,
    checkpoint: CheckpointRecord,
    data: DataSet,
    answered: Evaluation,
    judge: "Judge",
    *,
    fresh: bool = False,
    retry_unscored: bool = False,
    name: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge the responses of one evaluation, and list the judgment in the run.

    Args:
        run: Where responses are and verdicts go.
        checkpoint: Whose answers, as the run knows it.
        data: The entries with the expected answers.
        answered: The evaluation that collected the answers.
        judge: After its `check`.
        fresh: Judge again what is recorded.
        retry_unscored: Judge again what has no score.
        name: What to call the judge in place of its own name.
        progress: Told how many verdicts there are, of how many.

    Raises:
        HarnessError: If the judge is gone, or the run cannot be written.
    """
    responses = run.records(Response, "responses", data.label, answered.checkpoint).read()
    shown = f"{name or judge.name}+{judge.rubric}"
    file = run.records(Verdict, "verdicts", data.label, judge_folder(shown), checkpoint.slug)
    recorded = file.read()
    wanted = [*_wanted(data, answered, responses, judge, recorded)]
    todo = [w for w in wanted if fresh or _is_open(recorded.get(w.key), retry_unscored)]
    evaluation = Evaluation(
        stage="judge",
        checkpoint=checkpoint.slug,
        dataset=data.label,
        role=answered.role,
        settings=answered.settings | {"judge_fingerprint": judge.fingerprint},
        judge=shown,
        records=_by_item(answered, wanted),
        leaked=answered.leaked,
        notes=answered.notes,
    )
    # Listed before it is done, so that a killed run shows what is missing rather than nothing.
    run.add(checkpoint, evaluation)
    alive = True
    if todo:
        with file.writing() as writer:
            there = len(wanted) - len(todo)

            def done(one: ToJudge, judgment: "Judgment") -> None:
                nonlocal there
                writer.append(_verdict(one, judgment, judge, checkpoint))
                there += 1
                if progress:
                    progress(there, len(wanted))

            alive = await run_pool(
                todo,
                lambda one: judge.judge(one.submission),
                done,
                concurrency=judge.concurrency,
                lost=lambda judgment: judgment.reason in _NEVER_REACHED,
            )
    if not alive:
        raise HarnessError(f"the judge {judge.name} is gone; run the same command again to go on where it was")
    return evaluation


def _is_open(verdict: Verdict | None, retry_unscored: bool) -> bool:
    """Whether a judgment is still to be made."""
    if verdict is None or verdict.unscored in _NEVER_REACHED:
        return True
    return retry_unscored and verdict.score is None


def _wanted(
    data: DataSet,
    answered: Evaluation,
    responses: Mapping[str, Response],
    judge: "Judge",
    recorded: Mapping[str, Verdict],
) -> Iterator[ToJudge]:
    """A judgment for every answer that came; items without one have nothing to judge."""
    from judges.base import Submission

    for entry in data.evaluated:
        for response_key in answered.records.get(entry.item_id, []):
            response = responses.get(response_key)
            if response is None or response.text is None:
                continue
            submission = Submission(instruction=entry.question, expected=entry.output, answer=response.text)
            key = record_key(
                judge=judge.fingerprint,
                rubric=judge.rubric,
                request=judge.request(submission),
                item=entry.item_id,
                sample=response.sample,
            )
            attempt = recorded[key].attempt + 1 if key in recorded else 0
            yield ToJudge(submission, response, key, attempt)


def _by_item(answered: Evaluation, wanted: Sequence[ToJudge]) -> dict[str, list[str]]:
    """Keys of the verdicts of every item that was asked; none where there was no answer."""
    keys: dict[str, list[str]] = {item: [] for item in answered.records}
    for one in wanted:
        keys[one.response.item_id].append(one.key)
    return keys


def _verdict(one: ToJudge, judgment: "Judgment", judge: "Judge", checkpoint: CheckpointRecord) -> Verdict:
    return Verdict(
        key=one.key,
        attempt=one.attempt,
        item_id=one.response.item_id,
        checkpoint=checkpoint.fingerprint,
        response=one.response.key,
        judge=judge.name,
        judge_fingerprint=judge.fingerprint,
        rubric=judge.rubric,
        score=judgment.score,
        scale=judge.scale,
        unscored=judgment.reason.value if judgment.reason else None,
        detail=judgment.detail,
        explanation=judgment.explanation,
        exact=judgment.exact,
        raw=judgment.raw,
        messages=list(judgment.messages),
        calls=judgment.calls,
        notes=list(judgment.notes),
        prompt_tokens=judgment.prompt_tokens,
        output_tokens=judgment.output_tokens,
        seconds=judgment.seconds,
    )
