"""Responses to verdicts: a judge scores every answer once, or as often as it is to be repeated."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from finetune.instructions import DataSet, Entry
from harness.judging.judgments import Batch, Wanted, settings_in, settle, still_open, told
from harness.records import JSON, CheckpointRecord, Evaluation, Response, Verdict
from harness.respond import Progress
from harness.scores import judge_folder
from harness.store import Run, record_key

if TYPE_CHECKING:
    from judges.base import Judge, Judgment


def verdicts_wanted(
    run: Run,
    checkpoint: CheckpointRecord,
    data: DataSet,
    answered: Evaluation,
    judge: "Judge",
    *,
    repeats: int = 1,
    fresh: bool = False,
    retry_unscored: bool = False,
    name: str | None = None,
) -> Batch[Verdict]:
    """The verdicts on the responses of one evaluation, and which of them are still to be made.

    Args:
        run: Where responses are and verdicts go.
        checkpoint: Whose answers, as the run knows it.
        data: The entries with the expected answers.
        answered: The evaluation that collected the answers.
        judge: After its `check`.
        repeats: Verdicts on each response.
        fresh: Judge again what is recorded.
        retry_unscored: Judge again what has no score.
        name: What to call the judge in place of its own name.
    """
    responses = run.records(Response, "responses", data.label, answered.checkpoint).read()
    shown = f"{name or judge.name}+{judge.rubric}"
    file = run.records(Verdict, "verdicts", data.label, judge_folder(shown), checkpoint.slug)
    wanted = [*_wanted(data, answered, responses, judge, checkpoint, repeats)]
    keys: dict[str, list[str]] = {item: [] for item in answered.records}
    for one in wanted:
        keys[one.item_id].append(one.key)
    evaluation = Evaluation(
        stage="judge",
        checkpoint=checkpoint.slug,
        dataset=data.label,
        role=answered.role,
        settings=answered.settings | {"judge_fingerprint": judge.fingerprint},
        judge=shown,
        records=keys,
        leaked=answered.leaked,
        notes=answered.notes,
    )
    todo = still_open(wanted, file.read(), fresh=fresh, retry_unscored=retry_unscored)
    return Batch(checkpoint, evaluation, file, wanted, todo)


async def judge_responses(
    run: Run,
    checkpoint: CheckpointRecord,
    data: DataSet,
    answered: Evaluation,
    judge: "Judge",
    *,
    repeats: int = 1,
    fresh: bool = False,
    retry_unscored: bool = False,
    name: str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge the responses of one evaluation, and list the judgment in the run; see `verdicts_wanted` and `settle`.

    Raises:
        HarnessError: If the judge is gone, or the run cannot be written.
    """
    batch = verdicts_wanted(
        run,
        checkpoint,
        data,
        answered,
        judge,
        repeats=repeats,
        fresh=fresh,
        retry_unscored=retry_unscored,
        name=name,
    )
    await settle(run, batch, judge, progress=progress)
    return batch.evaluation


def _wanted(
    data: DataSet,
    answered: Evaluation,
    responses: Mapping[str, Response],
    judge: "Judge",
    checkpoint: CheckpointRecord,
    repeats: int,
) -> Iterator[Wanted[Verdict]]:
    """Judgments of every answer that came; items without one have nothing to judge."""
    from judges.base import Submission

    def keeping(response: Response) -> "Callable[[Wanted[Verdict], Judgment], Verdict]":
        return lambda one, judgment: _verdict(one, judgment, judge, checkpoint, response)

    for entry in data.evaluated:
        for response_key in answered.records.get(entry.item_id, []):
            response = responses.get(response_key)
            if response is None or response.text is None:
                continue
            submission = Submission(
                instruction=entry.question,
                expected=entry.output,
                answer=response.text,
                check=_check_of(entry),
            )
            for repeat in range(repeats):
                request = judge.request(submission, repeat=repeat)
                key = record_key(
                    judge=judge.fingerprint,
                    rubric=judge.rubric,
                    request=request,
                    item=entry.item_id,
                    sample=response.sample,
                    repeat=repeat,
                )
                yield Wanted(submission, entry.item_id, key, repeat, keeping(response), settings_in(request))


def _check_of(entry: Entry) -> Mapping[str, JSON]:
    """What an entry wants to be checked; nothing where that is no check, which is for those to refuse who check."""
    from judges.base import JudgeError
    from judges.checks import read_check

    try:
        return read_check(entry.meta.get("check"))
    except JudgeError:
        return {}


def _verdict(
    one: Wanted[Verdict], judgment: "Judgment", judge: "Judge", checkpoint: CheckpointRecord, response: Response
) -> Verdict:
    return Verdict(
        **told(one, judgment, judge),
        checkpoint=checkpoint.fingerprint,
        response=response.key,
        length=len(response.text or ""),
        scale=judge.scale,
        exact=judgment.exact,
    )
